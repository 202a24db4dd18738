"""exercise.py: what a model server does with onnxruntime's CUDA provider; a line of JSON a scenario.
Shapes, providers and statuses only: simulated kernels do not compute. Exceptions of a scenario are reported by name."""
import os, sys
sys.path[:0] = [os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."), os.path.dirname(os.path.abspath(__file__))]
import numpy as np
import onnxruntime as ort
import simulated
import tiny_onnx

WIDTH = 256
MODEL = tiny_onnx.model(WIDTH, 4)


def session(**more):
    quiet = ort.SessionOptions()
    quiet.log_severity_level = 3
    options = {"arena_extend_strategy": os.environ.get("ARENA", "kNextPowerOfTwo")} | more
    return ort.InferenceSession(MODEL, quiet, providers=[("CUDAExecutionProvider", options)])


def rows(s, n):
    return s.run(None, {"X": np.ones((n, WIDTH), np.float32)})[0].shape


def batches_of_every_size():
    s = session()
    return {"providers": s.get_providers(), "shapes": sorted({rows(s, n) for n in (1, 2, 7, 64, 300, 5, 1000)})}


def sessions_come_and_go():
    return {"answers": sum(rows(session(), 16) == (16, WIDTH) for _ in range(6))}


def tensors_stay_on_the_device():
    s = session()
    x = ort.OrtValue.ortvalue_from_numpy(np.full((32, WIDTH), 3, np.float32), "cuda", 0)
    binding = s.io_binding()
    binding.bind_ortvalue_input("X", x)
    binding.bind_output(s.get_outputs()[0].name, "cuda")
    s.run_with_iobinding(binding)
    out = binding.get_outputs()[0]
    return {"device": out.device_name(), "shape": out.shape(), "input is intact": bool((x.numpy() == 3).all())}


def a_memory_limit_is_an_error_not_a_crash():
    try:
        rows(session(gpu_mem_limit=str(8 << 20)), 100000)
    except Exception as error:
        return {"refused": type(error).__name__}
    return {"refused": None}


if __name__ == "__main__":
    sys.exit(simulated.scenarios([batches_of_every_size, sessions_come_and_go, tensors_stay_on_the_device,
                                  a_memory_limit_is_an_error_not_a_crash], sys.argv[1:]))
