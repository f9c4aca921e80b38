"""Names of the objects that the photo model knows: COCO's 80 classes, their synonyms, plurals and groups."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

CLASSES: Final[tuple[str, ...]] = (
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light",
    "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow", "elephant",
    "bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee", "skis", "snowboard",
    "sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard", "tennis racket", "bottle",
    "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple", "sandwich", "orange", "broccoli",
    "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch", "potted plant", "bed", "dining table", "toilet",
    "tv", "laptop", "mouse", "remote", "keyboard", "cell phone", "microwave", "oven", "toaster", "sink",
    "refrigerator", "book", "clock", "vase", "scissors", "teddy bear", "hair drier", "toothbrush",
)  # fmt: skip
"""COCO's classes in the order of the detector's outputs."""

_GROUPS: Final[Mapping[str, tuple[str, ...]]] = {
    "animal": CLASSES[14:24],
    "vehicle": CLASSES[1:9],
    "furniture": ("chair", "couch", "bed", "dining table", "bench"),
    "food": CLASSES[46:56],
    "fruit": ("banana", "apple", "orange"),
    "vegetable": ("broccoli", "carrot"),
    "appliance": ("microwave", "oven", "toaster", "sink", "refrigerator"),
    "cutlery": ("fork", "knife", "spoon"),
    "sports equipment": CLASSES[29:39],
    "racket": ("tennis racket",),
    "ball": ("sports ball",),
    "aircraft": ("airplane",),
    "bag": ("backpack", "handbag", "suitcase"),
}
"""Word for several classes -> the classes."""

_SYNONYMS: Final[Mapping[str, str]] = {
    "person": "human,individual,pedestrian,someone,somebody,anyone,anybody,man,woman,boy,girl,child,kid,guy,lady,"
    "player,adult",
    "bicycle": "bike,cycle",
    "car": "automobile,auto,sedan,taxi,cab,suv",
    "motorcycle": "motorbike,scooter,moped",
    "airplane": "aeroplane,plane,jet,airliner",
    "bus": "coach,minibus",
    "train": "locomotive,tram",
    "truck": "lorry,pickup,pickup truck",
    "boat": "ship,yacht,canoe,sailboat,kayak",
    "traffic light": "stoplight,traffic signal,traffic lamp",
    "fire hydrant": "hydrant",
    "cat": "kitten,kitty",
    "dog": "puppy,hound",
    "horse": "pony,foal",
    "sheep": "lamb",
    "cow": "cattle,bull,calf,ox",
    "backpack": "rucksack,knapsack",
    "umbrella": "parasol",
    "handbag": "purse",
    "tie": "necktie",
    "suitcase": "luggage,baggage",
    "frisbee": "flying disc",
    "skis": "ski",
    "sports ball": "baseball,football,basketball,soccer ball,tennis ball,volleyball",
    "baseball bat": "bat",
    "baseball glove": "mitt,baseball mitt",
    "tennis racket": "tennis racquet,racquet",
    "wine glass": "wineglass",
    "cup": "mug",
    "donut": "doughnut",
    "hot dog": "hotdog,frankfurter",
    "cake": "cupcake",
    "chair": "armchair",
    "couch": "sofa,settee",
    "potted plant": "houseplant,plant,pot plant",
    "dining table": "table",
    "tv": "television,monitor,tv set,television set,tv monitor",
    "laptop": "laptop computer,notebook computer",
    "mouse": "computer mouse",
    "remote": "remote control",
    "cell phone": "phone,cellphone,smartphone,telephone,mobile phone",
    "oven": "stove,cooker",
    "sink": "washbasin,basin",
    "refrigerator": "fridge",
    "teddy bear": "teddy,stuffed animal,plush toy",
    "hair drier": "hair dryer,hairdryer,blow dryer",
}
"""Class -> its other names."""

_IRREGULAR: Final[Mapping[str, str]] = {
    "people": "person", "men": "man", "women": "woman", "children": "child", "mice": "mouse", "knives": "knife",
    "oxen": "ox", "calves": "calf", "skis": "skis", "scissors": "scissors", "bus": "bus",
}  # fmt: skip
"""Plural -> singular, where neither an s nor another rule makes one of the other."""

NAMES: Final[Mapping[str, tuple[str, ...]]] = (
    dict[str, tuple[str, ...]]({name: (name,) for name in CLASSES})
    | dict(_GROUPS)
    | {word: (name,) for name, words in _SYNONYMS.items() for word in words.split(",")}
)
"""Singular name, lower case -> the classes that it stands for."""


def singular(noun: str) -> str:
    """Write the last word of a noun in the singular.

    Example:
        >>> singular("traffic lights"), singular("people"), singular("buses"), singular("bus")
        ('traffic light', 'person', 'bus', 'bus')
    """
    *before, last = noun.split(" ")
    for form in (_IRREGULAR.get(last), last):
        if form is not None and " ".join([*before, form]) in NAMES:
            return " ".join([*before, form])
    endings = (("ies", "y"), ("es", ""), ("s", ""))
    forms = (last.removesuffix(old) + new for old, new in endings if last.endswith(old))
    named = (" ".join([*before, form]) for form in forms)
    return next((form for form in named if form in NAMES), noun)
