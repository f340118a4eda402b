"""Tensors written row by row are what the library itself would have written."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from deepvis.tensor_streams import TensorStream


@pytest.mark.parametrize("shape", [(), (3,), (2, 4, 5)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rows_become_one_tensor(tmp_path: Path, shape: tuple[int, ...], dtype: str) -> None:
    rows = np.random.default_rng(0).normal(size=(7, *shape)).astype(dtype)
    with TensorStream(tmp_path / "a.safetensors", "activations", shape, dtype) as stream:
        for row in rows:
            stream.append(row)
        with pytest.raises(ValueError, match="expected a row of shape"):
            stream.append(np.zeros((9, 9)))
    found = load_file(tmp_path / "a.safetensors")
    assert list(found) == ["activations"]
    assert found["activations"].dtype == dtype and np.array_equal(found["activations"], rows)


def test_a_tensor_of_no_rows_is_one_too(tmp_path: Path) -> None:
    with TensorStream(tmp_path / "a.safetensors", "x", (2, 3)):
        pass
    assert load_file(tmp_path / "a.safetensors")["x"].shape == (0, 2, 3)
