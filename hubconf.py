"""Entry points of ``torch.hub``: ``torch.hub.load(REPOSITORY, "ila_vit_b16", pretrained=True)``."""

from ila_models import ila_vit_b16, ila_vit_b32, ila_vit_l14, ila_vit_l14_336, ila_vit_nano8

__all__ = ["ila_vit_b16", "ila_vit_b32", "ila_vit_l14", "ila_vit_l14_336", "ila_vit_nano8"]

dependencies = ["einops", "filelock", "huggingface_hub", "safetensors", "timm", "torch"]
