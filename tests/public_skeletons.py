"""Keypoint names and flip pairs of public skeletons, in compact form, for tests of left and right.

Each entry has the two words for left and right, whether it includes the 68 numbered points of a face (`face-0` to
`face-67`), the names on the midline, and the names of pairs with {} for the word. Skeletons that only number their
points are in `NUMBERED`.
"""

from __future__ import annotations

PUBLIC: dict[str, tuple[str, str, bool, str, str]] = {
    "aic": ("left", "right", False, "head_top,neck", "{}_shoulder,{}_elbow,{}_wrist,{}_hip,{}_knee,{}_ankle"),
    "ak": (
        "Left",
        "Right",
        False,
        ("Head_Mid_Top,Mouth_Front_Top,Mouth_Front_Bottom,Torso_Mid_Back,Tail_Top_Back,Tail_Mid_Back,Tail_End_Back"),
        "Eye_{},Mouth_Back_{},Shoulder_{},Elbow_{},Wrist_{},Hip_{},Knee_{},Ankle_{}",
    ),
    "animalpose": (
        "L",
        "R",
        False,
        "Nose,Throat,TailBase,Withers",
        "{}_Eye,{}_EarBase,{}_F_Elbow,{}_B_Elbow,{}_F_Knee,{}_B_Knee,{}_F_Paw,{}_B_Paw",
    ),
    "ap10k": (
        "L",
        "R",
        False,
        "Nose,Neck,Root of tail",
        "{}_Eye,{}_Shoulder,{}_Elbow,{}_F_Paw,{}_Hip,{}_Knee,{}_B_Paw",
    ),
    "atrw": ("left", "right", False, "nose,tail,center", "{}_ear,{}_shoulder,{}_front_paw,{}_hip,{}_knee,{}_back_paw"),
    "campus": ("left", "right", False, "bottom_head,top_head", "{}_hip,{}_knee,{}_ankle,{}_shoulder,{}_elbow,{}_wrist"),
    "coco": ("left", "right", False, "nose", "{}_eye,{}_ear,{}_shoulder,{}_elbow,{}_wrist,{}_hip,{}_knee,{}_ankle"),
    "coco_aic": (
        "left",
        "right",
        False,
        "nose,head_top,neck",
        "{}_eye,{}_ear,{}_shoulder,{}_elbow,{}_wrist,{}_hip,{}_knee,{}_ankle",
    ),
    "coco_openpose": (
        "left",
        "right",
        False,
        "nose,neck",
        "{}_shoulder,{}_elbow,{}_wrist,{}_hip,{}_knee,{}_ankle,{}_eye,{}_ear",
    ),
    "coco_wholebody": (
        "left",
        "right",
        True,
        "nose",
        (
            "{}_eye,{}_ear,{}_shoulder,{}_elbow,{}_wrist,{}_hip,{}_knee,{}_ankle,{}_big_toe,{}_small_toe,"
            "{}_heel,{}_hand_root,{}_thumb1,{}_thumb2,{}_thumb3,{}_thumb4,{}_forefinger1,{}_forefinger2,"
            "{}_forefinger3,{}_forefinger4,{}_middle_finger1,{}_middle_finger2,{}_middle_finger3,"
            "{}_middle_finger4,{}_ring_finger1,{}_ring_finger2,{}_ring_finger3,{}_ring_finger4,"
            "{}_pinky_finger1,{}_pinky_finger2,{}_pinky_finger3,{}_pinky_finger4"
        ),
    ),
    "coco_wholebody_openpose": (
        "left",
        "right",
        True,
        "nose,neck",
        (
            "{}_shoulder,{}_elbow,{}_wrist,{}_hip,{}_knee,{}_ankle,{}_eye,{}_ear,{}_big_toe,{}_small_toe,"
            "{}_heel,{}_hand_root,{}_thumb1,{}_thumb2,{}_thumb3,{}_thumb4,{}_forefinger1,{}_forefinger2,"
            "{}_forefinger3,{}_forefinger4,{}_middle_finger1,{}_middle_finger2,{}_middle_finger3,"
            "{}_middle_finger4,{}_ring_finger1,{}_ring_finger2,{}_ring_finger3,{}_ring_finger4,"
            "{}_pinky_finger1,{}_pinky_finger2,{}_pinky_finger3,{}_pinky_finger4"
        ),
    ),
    "crowdpose": ("left", "right", False, "top_head,neck", "{}_shoulder,{}_elbow,{}_wrist,{}_hip,{}_knee,{}_ankle"),
    "deepfashion_full": ("left", "right", False, "", "{} collar,{} sleeve,{} waistline,{} hem"),
    "deepfashion_lower": ("left", "right", False, "", "{} waistline,{} hem"),
    "deepfashion_upper": ("left", "right", False, "", "{} collar,{} sleeve,{} hem"),
    "exlpose": ("left", "right", False, "head,neck", "{}_shoulder,{}_elbow,{}_wrist,{}_hip,{}_knee,{}_ankle"),
    "fly": (
        "L",
        "R",
        False,
        "head,neck,thorax,abdomen",
        (
            "eye{},foreleg{}1,foreleg{}2,foreleg{}3,foreleg{}4,midleg{}1,midleg{}2,midleg{}3,midleg{}4,"
            "hindleg{}1,hindleg{}2,hindleg{}3,hindleg{}4,wing{}"
        ),
    ),
    "h36m": (
        "left",
        "right",
        False,
        "root,spine,thorax,neck_base,head",
        "{}_hip,{}_knee,{}_foot,{}_shoulder,{}_elbow,{}_wrist",
    ),
    "halpe": (
        "left",
        "right",
        True,
        "nose,head,neck,hip",
        (
            "{}_eye,{}_ear,{}_shoulder,{}_elbow,{}_wrist,{}_hip,{}_knee,{}_ankle,{}_big_toe,{}_small_toe,"
            "{}_heel,{}_hand_root,{}_thumb1,{}_thumb2,{}_thumb3,{}_thumb4,{}_forefinger1,{}_forefinger2,"
            "{}_forefinger3,{}_forefinger4,{}_middle_finger1,{}_middle_finger2,{}_middle_finger3,"
            "{}_middle_finger4,{}_ring_finger1,{}_ring_finger2,{}_ring_finger3,{}_ring_finger4,"
            "{}_pinky_finger1,{}_pinky_finger2,{}_pinky_finger3,{}_pinky_finger4"
        ),
    ),
    "halpe26": (
        "left",
        "right",
        False,
        "nose,head,neck,hip",
        ("{}_eye,{}_ear,{}_shoulder,{}_elbow,{}_wrist,{}_hip,{}_knee,{}_ankle,{}_big_toe,{}_small_toe,{}_heel"),
    ),
    "humanart21": (
        "left",
        "right",
        False,
        "nose",
        "{}_eye,{}_ear,{}_shoulder,{}_elbow,{}_wrist,{}_hip,{}_knee,{}_ankle,{}_finger,{}_toe",
    ),
    "interhand3d": (
        "left",
        "right",
        False,
        "",
        (
            "{}_thumb4,{}_thumb3,{}_thumb2,{}_thumb1,{}_forefinger4,{}_forefinger3,{}_forefinger2,"
            "{}_forefinger1,{}_middle_finger4,{}_middle_finger3,{}_middle_finger2,{}_middle_finger1,"
            "{}_ring_finger4,{}_ring_finger3,{}_ring_finger2,{}_ring_finger1,{}_pinky_finger4,"
            "{}_pinky_finger3,{}_pinky_finger2,{}_pinky_finger1,{}_wrist"
        ),
    ),
    "jhmdb": ("left", "right", False, "neck,belly,head", "{}_shoulder,{}_hip,{}_elbow,{}_knee,{}_wrist,{}_ankle"),
    "locust": (
        "L",
        "R",
        False,
        "head,neck,thorax,abdomen1,abdomen2",
        (
            "anttip{},antbase{},eye{},foreleg{}1,foreleg{}2,foreleg{}3,foreleg{}4,midleg{}1,midleg{}2,"
            "midleg{}3,midleg{}4,hindleg{}1,hindleg{}2,hindleg{}3,hindleg{}4"
        ),
    ),
    "mhp": (
        "left",
        "right",
        False,
        "pelvis,thorax,upper_neck,head_top",
        "{}_hip,{}_knee,{}_ankle,{}_shoulder,{}_elbow,{}_wrist",
    ),
    "mpi_inf_3dhp": (
        "left",
        "right",
        False,
        "head_top,neck,root,spine,head",
        "{}_shoulder,{}_elbow,{}_wrist,{}_hip,{}_knee,{}_ankle",
    ),
    "mpii_trb": (
        "left",
        "right",
        False,
        "head,neck",
        (
            "{}_shoulder,{}_elbow,{}_wrist,{}_hip,{}_knee,{}_ankle,{}_neck,medial_{}_shoulder,"
            "lateral_{}_shoulder,medial_{}_bow,lateral_{}_bow,medial_{}_wrist,lateral_{}_wrist,medial_{}_hip,"
            "lateral_{}_hip,medial_{}_knee,lateral_{}_knee,medial_{}_ankle,lateral_{}_ankle"
        ),
    ),
    "panoptic_body3d": (
        "left",
        "right",
        False,
        "neck,nose,mid_hip",
        "{}_shoulder,{}_elbow,{}_wrist,{}_hip,{}_knee,{}_ankle,{}_eye,{}_ear",
    ),
    "posetrack18": (
        "left",
        "right",
        False,
        "nose,head_bottom,head_top",
        "{}_ear,{}_shoulder,{}_elbow,{}_wrist,{}_hip,{}_knee,{}_ankle",
    ),
    "zebra": ("L", "R", False, "snout,head,neck,tailbase,tailtip", "foreleg{}1,hindleg{}1"),
}

NUMBERED = {
    "300w": ("kpt-", 68),
    "face of coco_wholebody": ("face-", 68),
    "aflw": ("kpt-", 19),
    "cofw": ("kpt-", 29),
    "lapa": ("kpt-", 106),
    "wflw": ("kpt-", 98),
}


def skeleton(name: str) -> tuple[list[str], set[tuple[int, int]]]:
    """The names of a public skeleton, and its flip pairs."""
    from kptool.base import face68

    left, right, face, middle, sided = PUBLIC[name]
    names = [part for part in middle.split(",") if part]
    pairs = set()
    for part in sided.split(","):
        pairs.add((len(names), len(names) + 1))
        names += [part.format(left), part.format(right)]
    if face:
        pairs |= {(len(names) + a, len(names) + b) for a, b in face68.FLIP_PAIRS}
        names += [f"face-{number}" for number in range(68)]
    return names, pairs
