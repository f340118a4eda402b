"""Recordings: a video of one's own, and what chosen layers of a network answer to each of its frames."""

from typing import Annotated, Literal

from apiflask import APIBlueprint
from apiflask.fields import UploadFile
from flask import Response
from pydantic import Field

from api.rest import jobs
from api.rest.jobs import FILE_RESPONSES, JobAnswer, JobPage
from api.rest.paging import PageQuery, link_header
from api.services import services
from api.uploads import on_disk
from core.activation_specs import MOST_RECORDED_LAYERS, ActivationKind, Side
from core.video_probe import probe_apart
from core.videos import video_limits_of
from db.activations import ActivationWish

blueprint = APIBlueprint("recordings", __name__, url_prefix="/api/v1/recordings", tag="Activations")

KIND = ActivationKind.RECORDING


class VideoWish(jobs.Wish):
    """A video, and what is to be found out of it."""

    video: UploadFile = Field(description="MP4, QuickTime, WebM, Matroska, AVI or Ogg; or an animated GIF, PNG or WebP")
    layers: Annotated[jobs.Layers, Field(min_length=1)] = Field(
        description=f"Names of 1 to {MOST_RECORDED_LAYERS} layers, with commas between them"
    )
    side: Side = Field(default="after", description="Of the non-linearity that directly follows a layer")
    step: int = Field(default=1, ge=1, le=1000, description="Every how manyth frame is looked at")
    data: Literal["yes", "no"] = Field(default="yes", description="Whether to keep the numbers beside the video")


@blueprint.post("")
@blueprint.input(VideoWish, location="form_and_files")
@blueprint.output(JobAnswer, status_code=202)
def create_recording(form_and_files_data: VideoWish) -> tuple[JobAnswer, int, dict[str, str]]:
    """Ask what a video does to some layers of a network.

    Answers at once; a worker puts frame after frame through the network, and `done` says how many. What comes of it is
    `recording.webm`, which shows the layers' grids beside the input, and the numbers: a safetensors file for each
    layer, for the class probabilities, and for the times of the frames. If the video breaks in the middle, what was
    read is kept, and `result.ended` says where that was. What was sent is kept as long as the job waits.
    """
    wish, upload = form_and_files_data, form_and_files_data.video
    asked = ActivationWish(
        kind=KIND,
        network=wish.network,
        layers=jobs.names(wish.layers),
        side=wish.side,
        step=wish.step,
        data=wish.data == "yes",
    )
    spec, filename = jobs.resolve(asked), jobs.filename_of(upload)
    limits, media_type = video_limits_of(services().settings), upload.content_type or ""
    with on_disk(upload.stream) as path, path.open("rb") as file:
        probe_apart(file, limits, filename=filename, media_type=media_type)
        file.seek(0)
        return jobs.submit(spec, file, filename)


@blueprint.get("")
@blueprint.input(PageQuery, location="query")
@blueprint.output(JobPage)
def list_recordings(query_data: PageQuery) -> tuple[JobPage, int, dict[str, str]]:
    """Every recording, newest first."""
    page = jobs.list_page(KIND, query_data.limit, query_data.cursor)
    return page, 200, link_header(page.next_cursor)


@blueprint.get("/<job_id>")
@blueprint.output(JobAnswer)
def show_recording(job_id: str) -> JobAnswer:
    """One recording: how far it is, and what came of it."""
    return jobs.show(job_id, KIND)


@blueprint.post("/<job_id>/cancel")
@blueprint.output(JobAnswer)
def cancel_recording(job_id: str) -> JobAnswer:
    """Give up what is not done yet."""
    return jobs.cancel(job_id, KIND)


@blueprint.delete("/<job_id>")
@blueprint.output({}, status_code=204)
def delete_recording(job_id: str) -> str:
    """Forget the recording and its files, whatever state it is in."""
    jobs.delete(job_id, KIND)
    return ""


@blueprint.get("/<job_id>/files/<file>")
@blueprint.doc(responses=FILE_RESPONSES)
def show_recording_file(job_id: str, file: str) -> Response:
    """A file of the recording; a range of it where one is asked for, as players do."""
    return jobs.file_answer(job_id, KIND, file)
