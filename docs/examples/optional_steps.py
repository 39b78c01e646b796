"""Clean a photo in steps of which most are optional. What was left out is no failure, and the result says why."""

import flow

Photo = dict[str, int]
NONE: Photo = {}  # what a step takes for a photo that did not come


def load(width: int, noise: int) -> Photo:
    return {"width": width, "noise": noise}


def smooth(load: Photo) -> Photo:
    return {**load, "noise": 1}


def shrink(load: Photo = NONE, smooth: Photo = NONE) -> Photo:
    return {**(smooth or load), "width": 1000}


def caption(load: Photo) -> str:
    raise ConnectionError("the captions service does not answer")


def publish(load: Photo = NONE, smooth: Photo = NONE, shrink: Photo = NONE, caption: str = "none") -> str:
    photo = shrink or smooth or load
    return f"{photo['width']} wide, noise {photo['noise']}, caption: {caption}"


def build() -> flow.Dag:
    dag = flow.Dag("photo")
    dag.add("load", load)
    dag.add("smooth", smooth, when=lambda load: load["noise"] > 3)
    dag.add("shrink", shrink, join="none_failed", when=lambda load=NONE: load["width"] > 1000)
    dag.add("caption", caption, when=lambda captions: captions, continue_on_error=True)
    dag.add("publish", publish, join="none_failed")
    return dag


def main() -> None:
    dag = build()
    for width, noise, captions in ((800, 1, False), (4000, 1, False), (4000, 9, True)):
        result = flow.run(dag, {"width": width, "noise": noise, "captions": captions})
        left_out = [name for name, status in result.status.items() if status == "bypassed"]
        print(f"{result['publish']}; left out: {', '.join(left_out) or 'nothing'}; in order: {result.ok}")
    print(result.why("caption"))


if __name__ == "__main__":
    main()
