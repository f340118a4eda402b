"""Activations: a picture of one's own, and what every layer of a network answers to it."""

import io
from typing import Literal

from apiflask import APIBlueprint
from apiflask.fields import UploadFile
from flask import Response
from pydantic import Field

from api.rest import jobs
from api.rest.jobs import FILE_RESPONSES, JobAnswer, JobPage
from api.rest.paging import PageQuery, link_header
from api.services import services
from core.activation_specs import ActivationKind, Side
from core.uploads import encode_clean, limits_of, read_upload
from db.activations import ActivationWish

blueprint = APIBlueprint("activations", __name__, url_prefix="/api/v1/activations", tag="Activations")

KIND = ActivationKind.PICTURE


class PictureWish(jobs.Wish):
    """A picture, and what is to be found out of it."""

    picture: UploadFile = Field(description="JPEG, PNG, WebP, GIF or BMP; of an animation the first frame is taken")
    layers: jobs.Layers = Field(default="", description="Names of layers, with commas between them; none: every layer")
    side: Side = Field(default="after", description="Of the non-linearity that directly follows a layer")
    data: Literal["yes", "no"] = Field(default="yes", description="Whether to keep the numbers beside the pictures")


@blueprint.post("")
@blueprint.input(PictureWish, location="form_and_files")
@blueprint.output(JobAnswer, status_code=202)
def create_activations(form_and_files_data: PictureWish) -> tuple[JobAnswer, int, dict[str, str]]:
    """Ask what a picture does to every layer of a network.

    Answers at once; a worker puts the picture through the network, and `state` says when it is done. Then every layer
    has a grid of its units' maps and its most excited units; `whole.png` is all of it in one large picture, and
    `activations.safetensors` and `activations.npz` are the numbers. Only the picture's pixels are kept, and those as
    long as the job waits.
    """
    wish, upload = form_and_files_data, form_and_files_data.picture
    asked = ActivationWish(
        kind=KIND, network=wish.network, layers=jobs.names(wish.layers), side=wish.side, data=wish.data == "yes"
    )
    spec, filename = jobs.resolve(asked), jobs.filename_of(upload)
    image = read_upload(
        upload.read(), limits_of(services().settings), filename=filename, media_type=upload.content_type or ""
    )
    return jobs.submit(spec, io.BytesIO(encode_clean(image)), filename)


@blueprint.get("")
@blueprint.input(PageQuery, location="query")
@blueprint.output(JobPage)
def list_activations(query_data: PageQuery) -> tuple[JobPage, int, dict[str, str]]:
    """Every picture's activations, newest first."""
    page = jobs.list_page(KIND, query_data.limit, query_data.cursor)
    return page, 200, link_header(page.next_cursor)


@blueprint.get("/<job_id>")
@blueprint.output(JobAnswer)
def show_activations(job_id: str) -> JobAnswer:
    """One picture's activations: how far they are, and what came of them."""
    return jobs.show(job_id, KIND)


@blueprint.post("/<job_id>/cancel")
@blueprint.output(JobAnswer)
def cancel_activations(job_id: str) -> JobAnswer:
    """Give up what is not done yet."""
    return jobs.cancel(job_id, KIND)


@blueprint.delete("/<job_id>")
@blueprint.output({}, status_code=204)
def delete_activations(job_id: str) -> str:
    """Forget the activations and their files, whatever state they are in."""
    jobs.delete(job_id, KIND)
    return ""


@blueprint.get("/<job_id>/files/<file>")
@blueprint.doc(responses=FILE_RESPONSES)
def show_activations_file(job_id: str, file: str) -> Response:
    """A file of the activations; a range of it where one is asked for."""
    return jobs.file_answer(job_id, KIND, file)
