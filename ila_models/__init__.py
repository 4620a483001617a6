"""ILA video models: CLIP's image transformers whose blocks align neighbouring frames (arXiv 2304.10465, ICCV 2023).

Three ways in::

    model = ila_models.create_model("ila_vit_b16", pretrained=True)
    model = torch.hub.load("ila-models/ila_models", "ila_vit_b16", pretrained=True)
    ila-models predict video.mp4 --model ila_vit_b16.openai --classes "surfing,tai chi"
"""

import logging as _logging

from . import timm_bridge as timm_bridge  # importing it makes timm know the models
from .aligned_pretrained import load_aligned_vit
from .aligned_timesformer import AlignedTimesformer, align_timesformer
from .aligned_vit import AlignedViT, add_alignment
from .alignment import AlignmentMaps
from .convert import convert_checkpoint
from .data import VideoError, create_transform, load_clips, load_video
from .data.annotations import AnnotationError, LabelledVideos, read_annotations
from .evaluation.report import Report, report_from
from .evaluation.run import evaluate
from .export import export_onnx, export_program
from .factory import (
    create_model,
    ila_vit_b16,
    ila_vit_b32,
    ila_vit_l14,
    ila_vit_l14_336,
    ila_vit_nano8,
    is_model,
    list_models,
    list_pretrained,
    load_text_encoder,
)
from .features import FeatureExtractor, Features
from .ila_vit import ILAVisionTransformer
from .info import ModelInfo, model_info
from .predict import Prediction, predict_video
from .publishing.bundle import save_pretrained
from .publishing.errors import PublishingError
from .publishing.push import push_to_hub
from .publishing.verify import Verification, verify
from .quantize import quantize_int8
from .text import TextEncoder
from .version import __version__
from .weights.errors import CheckpointError

_logging.getLogger(__name__).addHandler(_logging.NullHandler())

__all__ = [
    "AlignedTimesformer",
    "AlignedViT",
    "AlignmentMaps",
    "AnnotationError",
    "CheckpointError",
    "FeatureExtractor",
    "Features",
    "ILAVisionTransformer",
    "LabelledVideos",
    "ModelInfo",
    "Prediction",
    "PublishingError",
    "Report",
    "TextEncoder",
    "Verification",
    "VideoError",
    "__version__",
    "add_alignment",
    "align_timesformer",
    "convert_checkpoint",
    "create_model",
    "create_transform",
    "evaluate",
    "export_onnx",
    "export_program",
    "ila_vit_b16",
    "ila_vit_b32",
    "ila_vit_l14",
    "ila_vit_l14_336",
    "ila_vit_nano8",
    "is_model",
    "list_models",
    "list_pretrained",
    "load_aligned_vit",
    "load_clips",
    "load_text_encoder",
    "load_video",
    "model_info",
    "predict_video",
    "push_to_hub",
    "quantize_int8",
    "read_annotations",
    "report_from",
    "save_pretrained",
    "verify",
]
