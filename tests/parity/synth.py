"""Deterministic stand-in tensors, keyed by parameter name. Frozen numpy RandomState streams."""

import zlib

import numpy as np
import torch


def synth_tensor(name, shape, dtype=torch.float32):
    shape = tuple(shape)
    rs = np.random.RandomState(zlib.crc32(name.encode()) & 0xFFFFFFFF)
    last = name.rsplit(".", 1)[-1]
    if last == "num_batches_tracked":
        return torch.tensor(100, dtype=torch.int64)
    if last == "running_var":
        a = 0.5 + rs.random_sample(shape)
    elif last == "running_mean":
        a = 0.1 * rs.standard_normal(shape)
    elif name == "logit_scale":
        a = np.asarray(np.log(20.0))
    elif last == "alpha":
        a = 0.1 + 0.02 * rs.standard_normal(shape)
    elif last == "bias" or last == "in_proj_bias":
        a = 0.05 * rs.standard_normal(shape)
    elif last == "weight" and len(shape) == 1:
        a = 1.0 + 0.1 * rs.standard_normal(shape)
    elif last in ("positional_embedding", "class_embedding") or "token_embedding" in name:
        a = 0.3 * rs.standard_normal(shape)
    else:
        is_matrix = last in ("proj", "text_projection", "prompts_visual_proj")
        fan_in = shape[0] if is_matrix else int(np.prod(shape[1:]))
        gain = 1.0
        if "prediction_block" in name or "interactive_block" in name:
            gain = 0.8 if len(shape) == 3 else 1.4
        if "temporal_skip" in name:
            gain = 0.5
        a = gain * fan_in**-0.5 * rs.standard_normal(shape)
    return torch.from_numpy(np.array(a, dtype=np.float32)).to(dtype)


def synth_input(shape, seed=0):
    """Smooth moving pattern plus noise, [B, T, 3, H, W] float32, roughly unit variance."""
    b, t, c, h, w = shape
    rs = np.random.RandomState(seed)
    yy, xx = np.mgrid[0:h, 0:w] / float(h)
    out = np.empty(shape, np.float32)
    for i in range(b):
        for ch in range(c):
            fx, fy, ph, vx, vy = rs.random_sample(5) * np.array([6, 6, 6.28, 2, 2])
            for k in range(t):
                out[i, k, ch] = np.sin(2 * np.pi * (fx * (xx + vx * k / t) + fy * (yy + vy * k / t)) + ph)
    out += 0.5 * rs.standard_normal(shape)
    return torch.from_numpy(out.astype(np.float32))
