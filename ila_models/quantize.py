"""Eight-bit arithmetic for inference, by torchao: off unless asked for, since it changes answers a little."""

from __future__ import annotations

from torch import nn

from .ila_vit import ILAVisionTransformer


def quantize_int8(model: ILAVisionTransformer) -> ILAVisionTransformer:
    """Makes the linear layers of the blocks eight-bit, in place: weights once, by channel, activations as they come.

    The last block's queries, keys and values stay as they are. The model is fused first. It gains nothing until
    ``torch.compile`` has taken it, and then on processors with eight-bit products (AVX-512 VNNI, AMX) and on GPUs;
    where bf16 is fast, that may be as fast and nearer to the answers in float32 (docs/benchmarks.md has both).

    Args:
        model: The model; it cannot be trained or saved any more.

    Returns:
        The model itself.

    Raises:
        RuntimeError: torchao is missing.
    """
    try:
        from torchao.quantization import Int8DynamicActivationInt8WeightConfig, quantize_
    except ModuleNotFoundError as error:
        raise RuntimeError(f"eight bits take {error.name}: pip install 'ila-models[int8]'") from error
    if model.is_quantized:
        return model
    # A last block that computes class tokens alone reads this layer in parts, which eight-bit tensors do not all bear.
    left = f"{len(model.blocks) - 1}.attn.qkv"
    quantize_(
        model.fuse().blocks,
        Int8DynamicActivationInt8WeightConfig(),
        filter_fn=lambda module, name: isinstance(module, nn.Linear) and name != left,
    )
    model.is_quantized = True
    return model
