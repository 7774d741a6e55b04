"""ONNX Runtime on the CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.engines.protocol import Engine, Images, Scores, dequantize, require_images
from edgekit.errors import EngineError, GraphError

_DTYPES = {"tensor(uint8)": "uint8", "tensor(int8)": "int8", "tensor(float)": "float32", "tensor(float16)": "float16"}


def load(path: Path, threads: int, profile: Path | None = None) -> Engine:
    """An ``.onnx`` file in ONNX Runtime, with a batch of one.

    Args:
        profile: where to write the runtime's own per-operator trace (JSON in Chrome's trace format; the runtime
            appends a time stamp to the name). :meth:`OnnxRuntimeEngine.close` finishes it.

    Raises:
        EngineError: ONNX Runtime cannot be imported here.
        GraphError: it does not take the file.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise EngineError(
            f"onnxruntime: does not import here: {error}", hint="pip install --force-reinstall onnxruntime"
        ) from error
    return OnnxRuntimeEngine(onnxruntime, path, threads, profile)


class OnnxRuntimeEngine:
    """An ``.onnx`` file in an ``InferenceSession``; see ``edgekit.engines.protocol.Engine``.

    Input and output are NumPy arrays that the session is bound to, so that nothing is copied on the way in.
    """

    name = "onnxruntime"

    def __init__(self, runtime: Any, path: Path, threads: int, profile: Path | None = None) -> None:
        self.version: str = runtime.__version__
        self.threads = threads
        self._path = path
        self._runtime = runtime
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3  # errors only: warnings about the host's CPU are doctor's business
        if profile is not None:
            options.enable_profiling = True
            options.profile_file_prefix = str(profile)
        self._profiling = profile is not None
        self._session: Any
        self._binding: Any
        try:
            self._session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # the runtime raises its own classes, which share no base but Exception
            raise GraphError(
                f"{path}: onnxruntime {self.version} cannot load it: {str(error).strip().splitlines()[0]}",
                hint="the file is damaged, or uses operators newer than this engine",
            ) from error
        inputs = self._session.get_inputs()
        require_images(path, [(i.name, list(i.shape), _DTYPES.get(i.type, i.type)) for i in inputs])
        self._image = inputs[0]
        self._result = self._session.get_outputs()[0]
        kept = self._session.get_modelmeta().custom_metadata_map
        self._scale = float(kept.get("edgekit.output_scale", 1.0))
        self._zero_point = int(kept.get("edgekit.output_zero_point", 0))
        self.input: Images
        self._bind(batch=1)

    def invoke(self) -> NDArray[Any]:
        try:
            self._session.run_with_iobinding(self._binding)
        except Exception as error:  # see above
            raise EngineError(f"{self._path}: onnxruntime failed to run it: {error}") from error
        # A copy: the runtime's array may share the memory that the next run writes to.
        raw: NDArray[Any] = np.array(self._binding.get_outputs()[0].numpy())
        return raw.reshape(raw.shape[0], -1)

    def scores(self, raw: NDArray[Any]) -> Scores:
        return dequantize(raw, self._scale, self._zero_point)

    def resize(self, batch: int) -> None:
        if batch == self.input.shape[0]:
            return
        fixed = self._image.shape[0]
        if isinstance(fixed, int) and fixed != batch:
            raise GraphError(f"{self._path}: made for a batch of {fixed}, not {batch}")
        self._bind(batch)

    def close(self) -> None:
        if self._profiling:
            self._session.end_profiling()
            self._profiling = False
        self._binding = None
        self._session = None

    def _bind(self, batch: int) -> None:
        height, width = (int(size) for size in self._image.shape[1:3])
        self.input = np.zeros((batch, height, width, 3), np.uint8)
        self._binding = self._session.io_binding()
        self._binding.bind_cpu_input(self._image.name, self.input)
        self._binding.bind_output(self._result.name, "cpu")
