# docker build -t rspec-verify . && docker run --rm -v "$PWD:/work" rspec-verify specs/robust.rspec --report report.sarif
FROM python:3.11-slim
COPY . /src
RUN pip install --no-cache-dir --extra-index-url https://download.pytorch.org/whl/cpu -c /src/constraints.txt '/src[run,onnx,keras]' && rm -r /src
ENV OMP_WAIT_POLICY=passive
WORKDIR /work
ENTRYPOINT ["vrun"]
