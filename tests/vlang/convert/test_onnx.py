"""ONNX files: what is read gives onnxruntime's outputs, what is not read names its node. Networks exported by torch, and files of others."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")

from tests.runtime.network.test_layers import MODELS, M, N, Rnn, made  # noqa: E402
from vlang.convert.converted import ConversionError, Converted  # noqa: E402
from vlang.convert.onnx import read  # noqa: E402
from vlang.runtime.graph.concrete import logits  # noqa: E402
from vlang.runtime.network.assemble import assemble  # noqa: E402

F64 = torch.float64


def ours(found: Converted, x: torch.Tensor) -> torch.Tensor:
    network = assemble({k: torch.from_numpy(v) for k, v in found.tensors.items()}, found.architecture, F64, torch.device("cpu"))
    return logits(network.unroll(x.shape[1]), x.to(F64))


def exported(model: nn.Module, path: Path, x: torch.Tensor, **options: object) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(model, (x,), str(path), dynamo=False, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", sorted(set(MODELS) - {"projections"}))  # torch cannot write those
@pytest.mark.parametrize("open_", [False, True])
def test_torchs_exports_give_onnxruntimes_outputs(name: str, open_: bool, tmp_path: Path) -> None:
    """Of fixed sizes, and with the batch and the number of frames left open (where nothing flattens them)."""
    model, x = made(name).float(), torch.randn(1, M, N)
    options = {"input_names": ["x"], "dynamic_axes": {"x": {0: "batch"} | ({} if "flatten" in MODELS[name][1] else {1: "frames"})}} if open_ else {}
    exported(model, tmp_path / "net.onnx", x, **options)
    session = ort.InferenceSession(tmp_path / "net.onnx")
    (expected,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    assert np.abs(ours(read(str(tmp_path / "net.onnx")), x).numpy() - expected).max() < 1e-6


def test_the_files_of_others_are_read_right_or_named(shared: Path) -> None:
    """Every output of every file: as onnxruntime computed it, or an error that says what is not read."""
    read_ = 0
    refused: list[ConversionError] = []
    for path in sorted((shared / "data/onnx").rglob("*.onnx")):
        model = onnx.load(path)
        for output in [x.name for x in model.graph.output]:
            try:
                found = read(str(path), output)
            except ConversionError as e:
                refused.append(e)
                continue
            with np.load(path.with_suffix("").as_posix() + ".io.npz") as io:
                x, expected = torch.from_numpy(io[f"in_{model.graph.input[0].name}"]), io[f"out_{output}"]
            by_sample = np.moveaxis(expected, -2, 0).reshape(expected.shape[-2], -1)
            assert np.abs(ours(found, x.transpose(0, 1)).numpy() - by_sample).max() < 1e-6, (path, output)
            read_ += 1
    assert read_ == 6
    assert len(refused) > 10
    assert all(e.where.split(" ")[0] in ("node", "output", "the") and len(e.why) > 20 for e in refused)


@pytest.mark.parametrize("name", ["gru_seq_length", "lstm_batchwise", "lstm_with_initial_bias", "lstm_with_peepholes", "rnn_seq_length"])
def test_the_standards_own_nodes(name: str, shared: Path, tmp_path: Path) -> None:
    """Their weights are inputs; made constants, the outputs are those of the standard."""
    folder = shared / f"data/onnx/node/test_{name}"
    model = onnx.load(folder / "model.onnx")

    def tensor(kind: str, k: int) -> onnx.TensorProto:
        found = onnx.TensorProto()
        found.ParseFromString((folder / f"test_data_set_0/{kind}_{k}.pb").read_bytes())
        return found

    for k, x in list(enumerate(model.graph.input))[1:]:
        constant = tensor("input", k)
        constant.name = x.name
        model.graph.initializer.append(constant)
        model.graph.input.remove(x)
    onnx.save(model, tmp_path / "net.onnx")
    x = torch.from_numpy(onnx.numpy_helper.to_array(tensor("input", 0)))
    batch_first = name == "lstm_batchwise"
    found = ours(read(str(tmp_path / "net.onnx"), "Y_h"), x if batch_first else x.transpose(0, 1))
    expected = onnx.numpy_helper.to_array(tensor("output", len(model.graph.output) - 1)).reshape(found.shape)
    assert np.abs(found.numpy() - expected).max() < 1e-6


def single(op: str, path: Path, *constants: tuple[str, np.ndarray], outputs: int = 1, **attributes: object) -> None:  # type: ignore[type-arg]
    """A graph of one node that reads sequences [5, 1, 4]."""
    node = onnx.helper.make_node(op, ["x", *(name for name, _ in constants)], [f"y{k}" for k in range(outputs)], **attributes)
    x = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [5, 1, 4])
    made_ = [onnx.helper.make_tensor_value_info(f"y{k}", onnx.TensorProto.FLOAT, None) for k in range(outputs)]
    held = [onnx.numpy_helper.from_array(value.astype(np.float32), name) for name, value in constants if name]
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph([node], "g", [x], made_, held)), path)


W, R = np.ones((1, 9, 4)), np.ones((1, 9, 3))


@pytest.mark.parametrize(
    ("op", "constants", "attributes", "why"),
    [
        ("GRU", [("w", W), ("r", R)], {"hidden_size": 3, "clip": 1.0}, "clip"),
        ("GRU", [("w", W), ("r", R)], {"hidden_size": 3, "direction": "reverse"}, "backwards"),
        ("GRU", [("w", W), ("r", R)], {"hidden_size": 3, "activations": ["Tanh", "Tanh"]}, "activations"),
        ("RNN", [("w", W[:, :3]), ("r", R[:, :3])], {"hidden_size": 3, "activations": ["Affine"]}, "activations"),
        ("GRU", [("w", W), ("r", R), ("", W), ("n", np.array([3]))], {"hidden_size": 3}, "sequence_lens"),
        ("Elu", [], {"alpha": 0.5}, "alpha"),
        ("HardSigmoid", [], {}, "alpha"),
        ("Gelu", [], {"approximate": "tanh"}, "approximate"),
        ("Softmax", [], {}, "neither of the outputs nor over the frames"),
        ("Conv", [("w", np.ones((2, 1, 2)))], {"pads": [1, 0]}, "two sides"),
        ("Conv", [("w", np.ones((2, 1, 2)))], {"auto_pad": "SAME_UPPER"}, "two sides"),
        ("MaxPool", [], {"kernel_shape": [2], "pads": [1, 1]}, "padding"),
        ("Erf", [], {}, "operator"),
        ("MatMul", [("w", np.ones((3, 2)))], {}, "3 numbers"),
    ],
)
def test_what_is_not_read_is_named(op: str, constants: list[tuple[str, np.ndarray]], attributes: dict[str, object], why: str, tmp_path: Path) -> None:  # type: ignore[type-arg]
    single(op, tmp_path / "net.onnx", *constants, **attributes)
    with pytest.raises(ConversionError, match=why) as caught:
        read(str(tmp_path / "net.onnx"))
    assert caught.value.where == f"node 'y0' ({op})"


def graph(path: Path, nodes: list[onnx.NodeProto], *constants: tuple[str, np.ndarray]) -> None:  # type: ignore[type-arg]
    """A graph from x [1, 5, 4] to y."""
    x = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 5, 4])
    y = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph(nodes, "g", [x], [y], [onnx.numpy_helper.from_array(v, k) for k, v in constants])), path)


def test_a_slice_of_several_axes_takes_all_of_them(tmp_path: Path) -> None:
    node = onnx.helper.make_node
    whole = ("starts", np.array([-1, 0])), ("ends", np.array([10, 10])), ("axes", np.array([1, 2]))
    for order in (slice(None), slice(None, None, -1)):
        constants = [(k, v[order].copy()) for k, v in whole] + [("w", np.ones((4, 3), np.float32)), ("one", np.array([1]))]
        nodes = [node("Slice", ["x", "starts", "ends", "axes"], ["last"]), node("Squeeze", ["last", "one"], ["v"]), node("MatMul", ["v", "w"], ["y"])]
        graph(tmp_path / "net.onnx", nodes, *constants)
        found = read(str(tmp_path / "net.onnx"))
        assert [x.word for x in found.architecture.layers] == ["last_frame", "linear"]
        x = torch.randn(1, 5, 4)
        (expected,) = ort.InferenceSession(tmp_path / "net.onnx").run(None, {"x": x.numpy()})
        assert np.abs(ours(found, x).numpy() - expected).max() < 1e-6


BRANCH = onnx.helper.make_graph(
    [onnx.helper.make_node("Tanh", ["0"], ["z"])], "branch", [], [onnx.helper.make_tensor_value_info("z", onnx.TensorProto.FLOAT, None)]
)


@pytest.mark.parametrize(
    ("nodes", "why"),
    [
        ([("Cast", ["x"], {"to": onnx.TensorProto.INT64})], "whole numbers"),
        ([("Relu", ["x"], {"domain": "com.microsoft"})], "com.microsoft"),
        ([("RandomNormal", [], {"shape": [4]}), ("Add", ["x", "0"], {})], "not a constant"),
        ([("Softmax", ["x"], {"axis": 1})], "one vector"),
        ([("Dropout", ["x", "", "yes"], {})], "trains"),
        ([("Relu", ["x"], {}), ("Loop", ["", "yes", "0"], {"body": BRANCH})], "of their own"),
        ([("Softmax", ["x"], {}), ("Relu", ["0"], {})], "neither of the outputs"),
    ],
)
def test_what_looks_like_something_else_is_named(nodes: list[tuple[str, list[str], dict[str, object]]], why: str, tmp_path: Path) -> None:
    made_ = [
        onnx.helper.make_node(op, read_, ["y" if k == len(nodes) - 1 else str(k)], **said)  # type: ignore[arg-type]
        for k, (op, read_, said) in enumerate(nodes)
    ]
    graph(tmp_path / "net.onnx", made_, ("yes", np.array(True)))
    with pytest.raises(ConversionError) as caught:
        read(str(tmp_path / "net.onnx"))
    assert why in str(caught.value) or "neither of the outputs" in str(caught.value)


def written_out(path: Path, directions: int, final: bool, change: str = "") -> None:
    """An nn.RNN of five frames as torch's newer exporter writes it, frame by frame, with a linear layer behind. change: what is another network."""
    node, rng, nodes, held = onnx.helper.make_node, np.random.default_rng(0), [], {}
    held |= {f"i{k}": np.array([k]) for k in range(6)} | {"before": np.array([-1]), "least": np.array([-(2**63)]), "last": np.array(-1)}
    nodes.append(node("Transpose", ["x"], ["t"], perm=[1, 0, 2]))
    joined = []
    for d in range(directions):
        w = {k: rng.standard_normal(s).astype(np.float32) for k, s in (("w", (4, 3)), ("r", (3, 3)), ("b", (3,)), ("c", (3,)))}
        held |= {f"{k}{d}": v for k, v in w.items()} | {f"first{d}": w["c"][None, None] + (0.5 if change == "first state" else 0)}
        nodes += [node("MatMul", ["t", f"w{d}"], [f"m{d}"]), node("Add", [f"m{d}", f"b{d}"], [f"z{d}"])]
        if d:
            nodes.append(node("Slice", ["z1", "before", "least", "i0", "before"], ["turned"]))
        source, states = ("turned" if d else f"z{d}"), []
        for t in range(4 if change == "frames" else 5):
            nodes += [node("Slice", [source, f"i{t}", f"i{t + 1}", "i0"], [f"s{d}{t}"]), node("Squeeze", [f"s{d}{t}", "i0"], [f"x{d}{t}"])]
            by = f"r{d}" if not (change == "weight" and t == 3) else "other"
            if t:
                nodes += [node("MatMul", [states[-1], by], [f"p{d}{t}"]), node("Add", [f"p{d}{t}", f"c{d}"], [f"q{d}{t}"])]
            nodes += [node("Add", [f"q{d}{t}" if t else f"first{d}", f"x{d}{t}"], [f"a{d}{t}"]), node("Tanh", [f"a{d}{t}"], [f"h{d}{t}"])]
            states.append(f"h{d}{t}")
        nodes.append(node("Concat", states[:: -1 if d else 1], [f"y{d}"], axis=0))
        joined.append(states[-1] if final else f"y{d}")
    held |= {"other": held["r0"] + 1, "w_out": rng.standard_normal((3 * directions, 2)).astype(np.float32)}
    nodes.append(node("Concat", joined, ["both"], axis=2) if directions == 2 else node("Identity", joined, ["both"]))
    if final:
        nodes.append(node("Squeeze", ["both", "i0"], ["v"]))
    else:
        nodes += [node("Transpose", ["both"], ["u"], perm=[1, 0, 2]), node("Gather", ["u", "last"], ["v"], axis=1)]
    nodes.append(node("MatMul", ["v", "w_out"], ["y"]))
    graph(path, nodes, *held.items())


@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("final", [False, True])
def test_what_is_written_out_frame_by_frame_is_one_layer_again(directions: int, final: bool, tmp_path: Path) -> None:
    written_out(tmp_path / "net.onnx", directions, final)
    found, x = read(str(tmp_path / "net.onnx")), torch.randn(1, 5, 4)
    assert [(x.word, x.setting("directions")) for x in found.architecture.recurrent] == [("rnn_tanh", directions)]
    (expected,) = ort.InferenceSession(tmp_path / "net.onnx").run(None, {"x": x.numpy()})
    assert np.abs(ours(found, x).numpy() - expected).max() < 1e-6


@pytest.mark.parametrize("change", ["first state", "weight", "frames"])
def test_what_is_written_out_otherwise_is_another_network(change: str, tmp_path: Path) -> None:
    for final in (False, True):
        written_out(tmp_path / "net.onnx", 1, final, change)
        with pytest.raises(ConversionError):
            read(str(tmp_path / "net.onnx"))


class Picture(nn.Sequential):
    """A small network of pictures, with most of what is read of them."""

    def __init__(self) -> None:
        super().__init__(
            *(nn.Conv2d(2, 4, 3, padding=(1, 0)), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 4, (2, 1), groups=2), nn.SiLU()),
            *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)),
        )


def test_pictures(tmp_path: Path) -> None:
    model, x = Picture().eval(), torch.randn(1, 2, 8, 7)
    exported(model, tmp_path / "net.onnx", x)
    found = read(str(tmp_path / "net.onnx"))
    with torch.no_grad():
        assert np.abs(ours(found, x.flatten(1)[:, None]).numpy() - model(x).numpy()).max() < 1e-6
    refused = (nn.AvgPool2d(2, padding=1), 40, "Pad|padding"), (nn.ZeroPad2d((0, 1, 0, 0)), 128, "Pad"), (nn.Softmax(2), 112, "softmax")
    for changed, n, why in refused:
        exported(nn.Sequential(changed, nn.Flatten(), nn.Linear(n, 2)).eval(), tmp_path / "net.onnx", x)
        with pytest.raises(ConversionError, match=why):
            read(str(tmp_path / "net.onnx"))


def test_a_spec_runs_an_onnx_file_and_its_certificates_hold(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from vlang.cli import main
    from vlang.vcheck.cli import main as vcheck

    model = nn.Sequential(nn.Linear(N, 3), nn.ReLU(), Rnn(nn.GRU(3, 4, batch_first=True), final=True), nn.Linear(4, 3)).float().eval()
    x = torch.randn(2, M, N)
    exported(model, tmp_path / "net.onnx", x[:1])
    with torch.no_grad():
        np.save(tmp_path / "reference.npy", model(x).numpy())
    np.save(tmp_path / "x.npy", x.numpy())
    text = """rspec 1
network net { checkpoint = "net.onnx", reference = "reference.npy" }
dataset d { inputs = "x.npy" }
radius q { network = net, input = d, perturbation = { frames = all, norm = 2 }, engine = { method = planes, tolerance = 0.2 }
  expect min(radius) > 0 }
"""
    (tmp_path / "q.rspec").write_text(text)
    assert main(["run", str(tmp_path / "q.rspec"), "--certificates", str(tmp_path / "proofs")]) == 0
    assert len(list((tmp_path / "proofs").glob("*.cert"))) == 2
    (network,) = (tmp_path / "proofs").glob("net-*.safetensors")
    assert vcheck([*map(str, (tmp_path / "proofs").glob("*.cert")), "--network", str(network)]) == 0
    (tmp_path / "q.rspec").write_text(text.replace('"net.onnx"', '"net.onnx", layers = [gru, last, linear]'))
    assert main(["check", str(tmp_path / "q.rspec")]) == 2
    (tmp_path / "net.onnx").write_bytes(b"no model")
    (tmp_path / "q.rspec").write_text(text)
    assert main(["check", str(tmp_path / "q.rspec")]) == 2
    assert "R438" in capsys.readouterr().err
