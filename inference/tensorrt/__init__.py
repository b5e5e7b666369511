"""TensorRT plans: their files and the runtime that runs them."""
