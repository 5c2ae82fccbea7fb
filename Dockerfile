# Not tested where it was written (no Docker there). The course in a container:
#
#   docker build -t course .                            CPU
#   docker build -t course --build-arg TORCH=cuda .     CUDA libraries as PyTorch's wheel brings them
#   docker run --rm -p 8888:8888 course                 (CUDA: add --gpus all)
#
# then open the address that it prints.
FROM python:3.11-slim-bookworm
ARG TORCH=cpu

RUN apt-get update \
    && apt-get install -y --no-install-recommends make git g++ \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home student && mkdir /course && chown student /course
USER student
WORKDIR /course
COPY --chown=student . .

# The CPU build of PyTorch is a tenth of the CUDA one; requirements.txt then finds its pin satisfied.
RUN python -m venv .venv \
    && if [ "$TORCH" = cpu ]; then \
         .venv/bin/pip install --no-cache-dir uv \
         && .venv/bin/uv pip install --python .venv/bin/python --torch-backend cpu \
              "$(grep '^torch==' requirements.txt)"; \
       fi \
    && python tools/course.py setup

EXPOSE 8888
CMD ["make", "lab", "ARGS=--ip=0.0.0.0 --no-browser"]
