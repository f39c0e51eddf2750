"""Spectra and pseudospectra: matrices with known values, and definitions checked by brute force."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import scipy.linalg
import scipy.optimize

from vlang.runtime import spectra
from vlang.runtime.spectra import (
    circle,
    climb,
    crisscross,
    departure,
    dominant,
    eigen,
    grid,
    kreiss,
    nearest_defective,
    numerical_radius,
    numerical_range,
    power_growth,
    product_growth,
    pseudospectral_abscissa,
    pseudospectral_radius,
    smallest_singular_values,
)
from vlang.runtime.spectra.arrays import Matrix
from vlang.runtime.spectra.resolvent import around


def grcar(n: int) -> Matrix:
    """-1 below the diagonal, 1 on it and on three diagonals above (Grcar 1989)."""
    return sum((np.diag(np.ones(n - k), k) for k in range(4)), -np.diag(np.ones(n - 1), -1))


def kahan(n: int, s: float = 0.1 ** (1 / 63)) -> Matrix:
    """Trefethen's Kahan matrix: diagonal s^k, -c s^k to its right."""
    c = math.sqrt(1 - s * s)
    return np.diag(s ** np.arange(n)) @ (np.eye(n) - c * np.triu(np.ones((n, n)), 1))


def jordan(n: int, value: complex = 0.0) -> Matrix:
    return value * np.eye(n) + np.diag(np.ones(n - 1), 1)


def frank(n: int) -> Matrix:
    """Ill-conditioned small eigenvalues in reciprocal pairs, determinant 1 (Frank 1958)."""
    return np.array([[n + 1 - max(i, j) if j >= i - 1 else 0 for j in range(1, n + 1)] for i in range(1, n + 1)], dtype=float)


def some(n: int = 12, seed: int = 0, radius: float = 0.9) -> Matrix:
    a = np.random.default_rng(seed).standard_normal((n, n))
    return a * radius / abs(np.linalg.eigvals(a)).max()


MATRICES = {
    "grcar": grcar(20),
    "kahan": kahan(16),
    "jordan": jordan(8),
    "frank": frank(9) / 20,
    "random": some(),
    "complex": some(9) + 1j * some(9, 1),
    "normal": np.diag([0.5, 0.3j, -0.8]),
    "one": np.array([[0.5]]),
    "zero": np.zeros((3, 3)),
    "rotation": np.array([[0.0, -1.0], [1.0, 0.0]]),
}


def sigma(a: Matrix, z: complex) -> float:
    return float(np.linalg.svd(a - z * np.eye(len(a)), compute_uv=False)[-1])


@pytest.mark.parametrize("name", MATRICES)
def test_smallest_singular_values_are_those_of_a_decomposition(name: str) -> None:
    a = MATRICES[name]
    g = np.random.default_rng(1)
    z = 2 * (g.standard_normal(60) + 1j * g.standard_normal(60))
    exact = np.array([sigma(a, w) for w in z])
    assert np.allclose(smallest_singular_values(a, z, 1e-9), exact, rtol=1e-7, atol=1e-14)
    assert np.allclose(smallest_singular_values(a, z), exact, rtol=2e-2, atol=1e-14)
    at_eigenvalues = smallest_singular_values(a, np.linalg.eigvals(a))
    assert float(at_eigenvalues.max()) <= 1e-6 * max(1.0, np.linalg.norm(a))


@pytest.mark.parametrize("name", ["grcar", "complex"])
def test_a_grid_mirrors_only_what_mirrors(name: str) -> None:
    a = MATRICES[name]
    x, y = around(np.linalg.eigvals(a), 0.1, 21)
    found = grid(a, x, y)
    exact = np.array([[sigma(a, u + 1j * v) for u in x] for v in y])
    assert np.allclose(found.values, exact, rtol=0.1, atol=1e-12)
    assert np.median(abs(found.values / exact - 1)) < 1e-3


def test_pseudospectra_of_jordan_blocks_are_disks() -> None:
    """The radius r of a nilpotent block's disk solves sigma(J - r) = epsilon, the same in every direction."""
    for n, epsilon in ((2, 0.01), (5, 1e-3), (8, 0.1)):
        a = jordan(n)
        exact = scipy.optimize.brentq(lambda r, a=a, epsilon=epsilon: sigma(a, r) - epsilon, 0, 1 + epsilon, xtol=1e-14)
        assert pseudospectral_radius(a, epsilon) == pytest.approx(exact, rel=1e-8)
        assert pseudospectral_abscissa(a, epsilon) == pytest.approx(exact, rel=1e-8)
        assert pseudospectral_abscissa(a + 0.5j * np.eye(n), epsilon) == pytest.approx(exact, rel=1e-8)
    two = jordan(2)  # sigma(J - r) = epsilon at r^2 = epsilon + epsilon^2
    assert pseudospectral_radius(two, 0.01) == pytest.approx(math.sqrt(0.01 + 0.01**2), rel=1e-9)


def test_pseudospectra_of_normal_matrices_are_neighbourhoods() -> None:
    q = scipy.linalg.qr(np.random.default_rng(0).standard_normal((6, 6)))[0]
    values = np.array([0.9, -0.4, 0.2, 0.1, -0.7, 0.5])
    a = q @ np.diag(values) @ q.T
    for epsilon in (1e-6, 0.05, 2.0):
        assert pseudospectral_abscissa(a, epsilon) == pytest.approx(0.9 + epsilon, rel=1e-9)
        assert pseudospectral_radius(a, epsilon) == pytest.approx(0.9 + epsilon, rel=1e-9)
    assert departure(a) == pytest.approx(0, abs=1e-12)
    assert numerical_radius(a) == pytest.approx(0.9)
    assert kreiss(a).upper == 1
    assert eigen(a).vectors == pytest.approx(1, rel=1e-9)
    assert nearest_defective(a).distance == pytest.approx(0.05, rel=1e-6)  # half of the smallest gap


@pytest.mark.parametrize("name", ["grcar", "kahan", "frank", "random", "complex"])
@pytest.mark.parametrize("epsilon", [1e-4, 1e-2, 0.3])
def test_criss_cross_finds_the_farthest_points(name: str, epsilon: float) -> None:
    """On the circle, and on the vertical line, the smallest sigma is epsilon; beyond them it is larger. By refined fine grids."""
    a = MATRICES[name]
    values = np.linalg.eigvals(a)
    radius, abscissa = pseudospectral_radius(a, epsilon), pseudospectral_abscissa(a, epsilon)
    far = np.linalg.norm(a, 2) + 2 * epsilon

    def least(curve: Callable[[float], complex], starts: Matrix, width: float) -> float:
        at = [sigma(a, curve(t)) for t in starts]
        found = []
        for k in np.argsort(at)[:6]:
            ends = (starts[k] - width, starts[k] + width)
            best = scipy.optimize.minimize_scalar(lambda t: sigma(a, curve(t)), bounds=ends, method="bounded", options={"xatol": 1e-12})
            found.append(min(float(best.fun), at[k]))
        return min(found)

    angles = np.concatenate([np.linspace(0, 2 * np.pi, 600), np.angle(values)])
    heights = np.concatenate([np.linspace(-far, far, 600), values.imag])
    for grown, least_there in ((1.0, epsilon), (1.01, epsilon), (1.2, epsilon)):
        on_circle = least(lambda w, r=radius * grown: r * np.exp(1j * w), angles, 0.01)
        x = abscissa + (grown - 1) * abs(abscissa)
        on_line = least(lambda y, x=x: x + 1j * y, heights, far / 300)
        if grown == 1.0:
            assert on_circle == pytest.approx(epsilon, rel=1e-7)
            assert on_line == pytest.approx(epsilon, rel=1e-7)
        else:
            assert on_circle > least_there < on_line


def test_numerical_ranges_hold_every_quotient() -> None:
    g = np.random.default_rng(0)
    for a in MATRICES.values():
        n = len(a)
        v = g.standard_normal((n, 500)) + 1j * g.standard_normal((n, 500))
        quotients = (v.conj() * (a @ v)).sum(0) / (v.conj() * v).sum(0)
        border = numerical_range(a, 360)
        for angle in np.linspace(0, 2 * np.pi, 30):
            assert (np.exp(-1j * angle) * quotients).real.max() <= (np.exp(-1j * angle) * border).real.max() + 1e-3 * max(1e-9, np.linalg.norm(a))
        assert abs(border).max() <= numerical_radius(a) * (1 + 1e-9) + 1e-15
        assert abs(border).max() == pytest.approx(numerical_radius(a), rel=1e-3, abs=1e-12)
    assert numerical_radius(jordan(2)) == pytest.approx(0.5)
    assert numerical_radius(jordan(8)) == pytest.approx(math.cos(math.pi / 9))


def test_power_iteration_says_when_it_does_not_settle() -> None:
    assert math.isnan(dominant(np.roll(np.eye(6), 1, 0)))


@pytest.mark.parametrize("name", MATRICES)
def test_power_iteration_agrees_with_eigenvalues(name: str) -> None:
    assert dominant(MATRICES[name]) == pytest.approx(eigen(MATRICES[name]).radius, rel=1e-4, abs=1e-12)


def test_pseudospectra_of_toeplitz_matrices_fill_their_symbols() -> None:
    """A large triangular Toeplitz matrix has its diagonal as its only eigenvalue, and every z inside its symbol's curve in a small pseudospectrum."""
    n = 60
    a = np.diag(np.ones(n - 1), 1) + 0.25 * np.diag(np.ones(n - 2), 2)  # symbol e^iw + e^2iw / 4
    inside = 0.7 * np.exp(1j * np.linspace(0, 2 * np.pi, 12))
    assert float(smallest_singular_values(a, inside).max()) < 1e-3
    assert eigen(a).radius < 1e-6
    assert float(smallest_singular_values(a, np.array([1.3])).min()) > 1e-3
    assert pseudospectral_radius(a, 1e-6) > 0.7


def test_conditions_of_frank_matrices() -> None:
    """Eigenvalues come in reciprocal pairs; the smallest are the worst conditioned. Conditions are the derivatives under perturbations."""
    found = eigen(frank(9))
    assert np.allclose(found.values[:4] * found.values[:-5:-1], 1, rtol=1e-4)
    assert found.conditions[-1] > 1e3 > 10 > found.conditions[0] >= 1
    a = some(8)
    found = eigen(a)
    left, right = np.linalg.eig(a.T)[1], np.linalg.eig(a)[1]
    assert left.shape == right.shape
    worst, change = 0.0, 1e-7
    for k in range(40):
        e = np.random.default_rng(k).standard_normal((8, 8))
        moved = np.linalg.eigvals(a + change * e / np.linalg.norm(e, 2))
        worst = max(worst, float(min(abs(moved - found.values[0]))) / change)
    assert 0.1 * found.conditions[0] < worst <= found.conditions[0] * 1.01


def test_departure_from_normality() -> None:
    a = some(10)
    exact = math.sqrt(max(0.0, np.linalg.norm(a) ** 2 - float((abs(np.linalg.eigvals(a)) ** 2).sum())))
    assert departure(a) == pytest.approx(exact, rel=1e-6)
    assert departure(jordan(5)) == pytest.approx(2.0)


@pytest.mark.parametrize("name", ["grcar", "kahan", "jordan", "frank", "random", "normal", "one", "zero", "rotation"])
def test_the_kreiss_constant_is_a_supremum_and_bounds_growth(name: str) -> None:
    a = MATRICES[name]
    radius = eigen(a).radius
    if radius >= 1 and name != "rotation":
        a = a * 0.95 / radius
    found = kreiss(a)
    assert found.lower <= found.upper <= 1.06 * found.lower
    # The definition, by brute force over rings around the unit disk.
    brute = 1.0
    for step in np.logspace(-7, 2, 60):
        z = (1 + step) * np.exp(1j * np.linspace(0, 2 * np.pi, 90))
        brute = max(brute, float((step / smallest_singular_values(a, z, 1e-8)).max()))
    assert brute <= found.upper * (1 + 1e-6)
    assert brute >= found.lower * 0.9
    growth = power_growth(a)
    assert growth.final
    assert found.lower <= growth.largest * (1 + 1e-9)
    assert growth.largest <= math.e * len(a) * found.upper


def test_kreiss_constants_at_the_border_of_stability() -> None:
    """An unstable matrix has none; at modulus 1 a defective eigenvalue has none, a simple one at least its condition."""
    assert kreiss(1.01 * np.eye(3)).lower == math.inf
    assert kreiss(jordan(2, 1.0)).lower == math.inf
    a = np.array([[1.0, 5.0], [0.0, 0.2]])
    found = kreiss(a)
    assert eigen(a).conditions.max() * (1 - 1e-6) <= found.lower <= found.upper <= 1.1 * found.lower
    assert power_growth(a, 200).largest >= found.lower * (1 - 1e-9)


@pytest.mark.parametrize("gap", [1e-1, 2**-10, 1e-4, 1e-6])
def test_kreiss_constants_next_to_the_unit_circle(gap: float) -> None:
    """[[1 - d, 1], [0, 1 - d]]: about 1 / 4d, reached at epsilons far below the norm."""
    found = kreiss(np.array([[1 - gap, 1.0], [0.0, 1 - gap]]))
    assert found.lower <= found.upper <= 1.1 * found.lower
    assert found.lower == pytest.approx(max(1.0, 1 / (4 * gap)), rel=0.3)
    power = power_growth(np.array([[1 - gap, 1.0], [0.0, 1 - gap]]), 100) if gap < 1e-2 else None
    assert power is None or power.largest <= math.e * 2 * found.upper


def test_growth_of_powers_and_products() -> None:
    a = 0.9 * jordan(6) * 3
    growth = power_growth(a)
    assert growth.largest == pytest.approx(2.7**5)
    assert (growth.at, growth.final) == (5, True)
    assert power_growth(1.1 * np.eye(2)).largest == math.inf
    assert not power_growth(np.array([[1.0, 5.0], [0.0, 0.2]]), 50).final
    steps = [some(4, k) for k in range(6)]
    product = np.linalg.multi_dot(steps[::-1])
    assert product_growth(steps).norms[-1] == pytest.approx(np.linalg.norm(product, 2))


def test_a_defective_matrix_is_as_near_as_is_said() -> None:
    """A - sigma u v' has a double eigenvalue at z with one eigenvector; for [[0, 1], [d, 0]] the distance is known."""
    for d in (0.1, 0.5):
        a = np.array([[0.0, 1.0], [d, 0.0]])
        assert nearest_defective(a).distance == pytest.approx(d, rel=1e-6)  # its lower corner becomes 0
    a = some(7, 3)
    found = nearest_defective(a)
    u, s, v = np.linalg.svd(a - found.z * np.eye(7))
    near = a - s[-1] * np.outer(u[:, -1], v[-1])
    assert np.linalg.norm(near - a, 2) == pytest.approx(found.distance)
    values = np.linalg.eigvals(near)
    two = np.sort(abs(values - found.z))[:2]
    assert two[1] < 1e-4  # a double eigenvalue, up to the square root of rounding
    assert eigen(near).vectors > 1e6
    assert nearest_defective(jordan(4)).distance == 0
    assert nearest_defective(np.zeros((3, 3))).distance == nearest_defective(np.diag([1.0, 1.0, 0.5])).distance == 0
    assert nearest_defective(np.array([[2.0]])).distance == math.inf


@pytest.mark.parametrize(
    ("a", "word"), [(np.zeros((2, 3)), "square"), (np.zeros((0, 0)), "square"), (np.full((2, 2), np.nan), "NaN"), (np.zeros(4), "square")]
)
def test_what_is_no_matrix_is_refused(a: Matrix, word: str) -> None:
    for of in (eigen, departure, dominant, kreiss, nearest_defective, numerical_radius, numerical_range, power_growth):
        with pytest.raises(ValueError, match=word):
            of(a)
    with pytest.raises(ValueError, match=word):
        pseudospectral_radius(a, 0.1)


def test_angles_on_the_circle_are_found_with_and_without_a_pole() -> None:
    """A pencil that has every pole among its eigenvalues is solved as it is."""
    for angles in (np.array([0.3, -2.0, 1.5]), np.angle(np.array(circle.POLES))):
        left = np.diag(np.append(np.exp(1j * angles), [0.5, 3.0]))
        assert (circle._cayley(left, np.eye(len(left)) + 0j)[1] is None) == (len(angles) == len(circle.POLES))
        assert np.sort(circle.unimodular(left, np.eye(len(left)) + 0j)) == pytest.approx(np.sort(angles), abs=1e-10)


@pytest.mark.parametrize("seed", range(4))
def test_large_matrices_are_climbed_to_the_same_reach(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A start by perturbations of rank one, whatever local maximum it ends at, changes nothing that is found."""
    a = np.random.default_rng(seed).normal(size=(40, 40)) / 40**0.5 + 0j
    for epsilon in (1e-3, 0.2):
        monkeypatch.setattr(crisscross, "LARGE", 1000)
        plain = pseudospectral_radius(a, epsilon), pseudospectral_abscissa(a, epsilon)
        monkeypatch.setattr(crisscross, "LARGE", 1)
        assert (pseudospectral_radius(a, epsilon), pseudospectral_abscissa(a, epsilon)) == pytest.approx(plain, rel=1e-11)
        top = climb.climb(a, complex(max(np.linalg.eigvals(a), key=abs)), epsilon, np.abs, lambda z: z / abs(z))
        assert abs(top) > 0.9 * plain[0]
        assert np.linalg.svd(a - top * np.eye(40), compute_uv=False)[-1] <= epsilon * (1 + 1e-9)


def test_defective_matrices_are_climbed_as_far_as_they_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crisscross, "LARGE", 1)
    for a in (np.zeros((9, 9)), np.diag(np.ones(39), 1), 1e-300 * np.eye(4), np.eye(5)):
        found = pseudospectral_radius(a, 0.1), pseudospectral_abscissa(a, 0.1)
        monkeypatch.setattr(crisscross, "LARGE", 1000)
        assert found == pytest.approx((pseudospectral_radius(a, 0.1), pseudospectral_abscissa(a, 0.1)), rel=1e-11)
        monkeypatch.setattr(crisscross, "LARGE", 1)


@pytest.mark.parametrize("factor", [1.0, 1e-250, 1e250])
def test_normal_matrices_have_conditions_of_one_whatever_repeats(factor: float) -> None:
    """Symmetric, rank one, orthogonal, a shift: repeated eigenvalues have no basis of their own, and their conditions are 1 all the same."""
    g = np.random.default_rng(0)
    orthogonal = np.linalg.qr(g.standard_normal((6, 6)))[0]
    for a in (
        np.ones((5, 5)),
        np.eye(4),
        np.diag([2.0, 1, 1]),
        orthogonal,
        np.roll(np.eye(5), 1, 0),
        orthogonal @ np.diag([3.0, 3, 3, 1, 1, 0]) @ orthogonal.T,
    ):
        found = spectra.eigen(a * factor)
        assert found.vectors == pytest.approx(1, abs=1e-9)
        assert found.conditions == pytest.approx(1, abs=1e-9)
        assert found.radius == pytest.approx(float(abs(np.linalg.eigvals(a)).max()) * factor, rel=1e-9)


def test_repeated_eigenvalues_of_other_matrices_have_the_norm_of_their_projector() -> None:
    """diag(1, 1, 0) in a basis that is not orthonormal: the projector onto the double eigenvalue's space is what moves it."""
    basis = np.array([[1.0, 0, 2], [0, 1, 1], [0, 0, 1]])
    found = spectra.eigen(basis @ np.diag([1.0, 1, 0]) @ np.linalg.inv(basis))
    projector = basis @ np.diag([1.0, 1, 0]) @ np.linalg.inv(basis)
    assert found.conditions[:2] == pytest.approx(np.linalg.norm(projector, 2), rel=1e-6)
    assert spectra.eigen(np.array([[1.0, 0, 1], [0, 0, 0], [0, 0, 1]])).vectors == np.inf


def test_the_nearest_defective_matrix_of_a_normal_one_is_half_a_gap_away() -> None:
    assert spectra.nearest_defective(np.diag([3.0, 1, 0.5])).distance == pytest.approx(0.25)
    assert spectra.nearest_defective(np.eye(3)).distance == pytest.approx(0, abs=1e-12)
