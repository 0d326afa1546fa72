"""The zoo: 16 networks in torch, five in Keras, and 45 in ONNX, by name; each is built when it is asked for."""

import importlib

_TORCH = (
    "bert", "distilbert", "mobilebert", "gpt2", "vit", "resnet18", "resnet50", "convnext", "mobilenet_v2",
    "mobilenet_v3", "efficientnet_b0", "squeezenet", "shufflenet_v2", "inception_v3", "densenet121", "unet",
)  # fmt: skip
_KERAS = ("resnet50", "mobilenet_v2", "inception_v3", "densenet121", "efficientnet_b0")
#: in ``$EDGEPART_DATA/onnx``
_DATA = (
    "light_bvlc_alexnet", "light_densenet121", "light_inception_v1", "light_inception_v2", "light_resnet50",
    "light_shufflenet", "light_squeezenet", "light_vgg19", "light_zfnet512", "exported_bert_base_cls",
    "exported_bert_mini_cls", "exported_densenet121", "exported_distilbert_cls", "exported_efficientnet_b0",
    "exported_inception_v3", "exported_mobilebert_cls", "exported_mobilenet_v2", "exported_mobilenet_v3_large",
    "exported_resnet50", "exported_shufflenet_v2_x1_0", "exported_squeezenet1_1", "exported_vgg16", "exported_vit_b_16",
    "mobilenet_v2_imagenet",
)  # fmt: skip

NAMES = (
    *(f"torch/{name}" for name in _TORCH),
    *(f"keras/{name}" for name in _KERAS),
    *(f"onnx/torch_{name}" for name in _TORCH),
    *(f"onnx/keras_{name}" for name in _KERAS),
    *(f"onnx/{name}" for name in _DATA),
)


def subject(name):
    """A network captured, with what it is to be compared with; imports its framework only."""
    framework, _, rest = name.partition("/")
    return importlib.import_module(f"zoo_{framework}").subject(rest)
