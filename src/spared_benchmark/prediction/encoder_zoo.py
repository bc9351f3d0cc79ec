"""Image networks known by a short name: how each is built, what it gives, who may have it.

The hub cannot be asked without a connection, not even for an architecture; so each says here by
which timm model and with which options it is built, and its hub id serves to fetch weights alone.
Facts are those of the models' cards and papers; read the card before you use the weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

# Works as it is; is fetched by anyone; is fetched with an account whose owner accepted its terms.
Access = Literal["offline", "open", "gated"]
# One vector as the network gives it, or the class token beside the mean of the patches' tokens.
Pooling = Literal["network", "class_and_mean"]

RANDOM_CONV = "random_conv"
# Channel means and deviations of ImageNet, on the scale 0 to 1.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

_HALF = (0.5, 0.5, 0.5)
_H_OPTIMUS_MEAN = (0.707223, 0.578729, 0.703617)
_H_OPTIMUS_STD = (0.211883, 0.230117, 0.177517)
_LUNIT_MEAN = (0.70322989, 0.53606487, 0.66096631)
_LUNIT_STD = (0.21716536, 0.26081574, 0.20723464)
_GATED = "CC-BY-NC-ND-4.0"
_LAYER_SCALE = {"init_values": 1e-5}
_SWIGLU = {"mlp_layer": "swiglu_packed", "act_layer": "silu"}


@dataclass(frozen=True)
class KnownEncoder:
    """A published image network.

    Attributes:
        label: What a reader sees.
        architecture: Name of the timm model that it is built from.
        parameters: Number of them, without a classifier.
        width: Features that it gives.
        licence: Of the weights.
        access: Who may fetch the weights.
        hub: Where they are, on the Hugging Face hub.
        options: What timm's constructor is told beside the architecture.
        pooling: How its tokens become one vector; registers never count.
        side: Of the images that it was trained on, pixels.
        mean: Of each channel, scale 0 to 1, that is removed first.
        std: By which it is divided then.
    """

    label: str
    architecture: str
    parameters: int
    width: int
    licence: str
    access: Access
    hub: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    pooling: Pooling = "network"
    side: int = 224
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD


def _kaiko(label: str, architecture: str, parameters: int, width: int) -> KnownEncoder:
    return KnownEncoder(
        label=f"Kaiko {label}",
        architecture=architecture,
        parameters=parameters,
        width=width,
        licence="non-commercial",
        access="open",
        hub=f"1aurent/{architecture}.kaiko_ai_towards_large_pathology_fms",
        mean=_HALF,
        std=_HALF,
    )


def _virchow(label: str, parameters: int, licence: str, **options: Any) -> KnownEncoder:
    return KnownEncoder(
        label=label,
        architecture="vit_huge_patch14_224",
        parameters=parameters,
        width=2560,
        licence=licence,
        access="gated",
        hub=f"paige-ai/{label}",
        options={**_LAYER_SCALE, **_SWIGLU, "mlp_ratio": 5.3375, **options},
        pooling="class_and_mean",
    )


def _h_optimus(label: str, licence: str) -> KnownEncoder:
    return KnownEncoder(
        label=label,
        architecture="vit_giant_patch14_reg4_dinov2",
        parameters=1_134_774_272,
        width=1536,
        licence=licence,
        access="gated",
        hub=f"bioptimus/{label}",
        options=_LAYER_SCALE,
        mean=_H_OPTIMUS_MEAN,
        std=_H_OPTIMUS_STD,
    )


ZOO: Mapping[str, KnownEncoder] = {
    RANDOM_CONV: KnownEncoder(
        label="Random filters at three scales, beside the colours",
        architecture=RANDOM_CONV,
        parameters=10_800,
        width=294,
        licence="none",
        access="offline",
        side=64,
    ),
    "resnet50": KnownEncoder(
        label="ResNet-50, ImageNet",
        architecture="resnet50",
        parameters=23_508_032,
        width=2048,
        licence="BSD-3-Clause",
        access="open",
        hub="timm/resnet50.tv_in1k",
    ),
    "vit_b16": KnownEncoder(
        label="ViT-B/16, ImageNet",
        architecture="vit_base_patch16_224",
        parameters=85_798_656,
        width=768,
        licence="Apache-2.0",
        access="open",
        hub="timm/vit_base_patch16_224.augreg2_in21k_ft_in1k",
        mean=_HALF,
        std=_HALF,
    ),
    "kaiko_vits8": _kaiko("ViT-S/8", "vit_small_patch8_224", 21_670_272, 384),
    "kaiko_vits16": _kaiko("ViT-S/16", "vit_small_patch16_224", 21_665_664, 384),
    "kaiko_vitb8": _kaiko("ViT-B/8", "vit_base_patch8_224", 85_807_872, 768),
    "kaiko_vitb16": _kaiko("ViT-B/16", "vit_base_patch16_224", 85_798_656, 768),
    "lunit_vits8": KnownEncoder(
        label="Lunit DINO ViT-S/8",
        architecture="vit_small_patch8_224",
        parameters=21_670_272,
        width=384,
        licence="non-commercial",
        access="open",
        hub="1aurent/vit_small_patch8_224.lunit_dino",
        mean=_LUNIT_MEAN,
        std=_LUNIT_STD,
    ),
    "uni": KnownEncoder(
        label="UNI",
        architecture="vit_large_patch16_224",
        parameters=303_350_784,
        width=1024,
        licence=_GATED,
        access="gated",
        hub="MahmoodLab/UNI",
        options=_LAYER_SCALE,
    ),
    "uni2_h": KnownEncoder(
        label="UNI2-h",
        architecture="vit_giant_patch14_224",
        parameters=681_394_176,
        width=1536,
        licence=_GATED,
        access="gated",
        hub="MahmoodLab/UNI2-h",
        options={
            **_LAYER_SCALE,
            **_SWIGLU,
            "depth": 24,
            "num_heads": 24,
            "embed_dim": 1536,
            "mlp_ratio": 2 * 2.66667,
            "no_embed_class": True,
            "reg_tokens": 8,
        },
    ),
    "virchow": _virchow("Virchow", 631_229_184, "Apache-2.0"),
    "virchow2": _virchow("Virchow2", 631_239_424, _GATED, reg_tokens=4),
    "h0_mini": KnownEncoder(
        label="H0-mini",
        architecture="vit_base_patch14_reg4_dinov2",
        parameters=85_739_520,
        width=768,
        licence=_GATED,
        access="gated",
        hub="bioptimus/H0-mini",
        options={**_LAYER_SCALE, **_SWIGLU, "mlp_ratio": 2 * 2.66667},
        mean=_H_OPTIMUS_MEAN,
        std=_H_OPTIMUS_STD,
    ),
    "h_optimus_0": _h_optimus("H-optimus-0", "Apache-2.0"),
    "h_optimus_1": _h_optimus("H-optimus-1", _GATED),
    "gigapath": KnownEncoder(
        label="Prov-GigaPath, tiles",
        architecture="vit_giant_patch14_dinov2",
        parameters=1_134_953_984,
        width=1536,
        licence="Apache-2.0, research only",
        access="gated",
        hub="prov-gigapath/prov-gigapath",
        options={**_LAYER_SCALE, "patch_size": 16, "mlp_ratio": 2 * 2.66667},
    ),
}


def known_encoder(network: str) -> KnownEncoder | None:
    """Return the entry of a short name or of a hub id (``hf-hub:MahmoodLab/UNI2-h``), if any."""
    if network in ZOO:
        return ZOO[network]
    name = network.replace("hf_hub:", "hf-hub:")
    hubs = {f"hf-hub:{entry.hub}".lower(): entry for entry in ZOO.values() if entry.hub}
    return hubs.get(name.lower())


def available_encoders() -> list[dict[str, str | int]]:
    """Return a row for each known encoder: name, architecture, parameters, width, licence, access.

    ``access`` is ``offline`` (works without any download), ``open`` (anyone may download the
    weights) or ``gated`` (an account is needed and its owner must accept terms).
    """
    return [
        {
            "name": name,
            "label": entry.label,
            "architecture": entry.architecture,
            "parameters": entry.parameters,
            "width": entry.width,
            "licence": entry.licence,
            "access": entry.access,
        }
        for name, entry in ZOO.items()
    ]
