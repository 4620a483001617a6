"""The page: what stands where, and which reply belongs to what."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import gradio as gr

from . import texts
from .replies import TOP, Replies
from .timeline import TIMELINE_STYLE

KEPT_MINUTES = 60
"""How long uploads and pictures are kept at the most."""
# Trimming is hidden because gradio fetches what it takes from the network. On a phone, the contact sheet is scrolled.
STYLE = (
    TIMELINE_STYLE
    + """
.gradio-container { max-width: 1120px !important; margin: 0 auto !important; }
#refusal { border-left: 4px solid #dc2626; border-radius: 4px; padding: 8px 14px; background: rgb(220 38 38 / 0.1); }
.small p { font-size: var(--text-md); color: var(--body-text-color-subdued); }
#video video { max-height: 320px; object-fit: contain; }
#video button[aria-label^="Trim"], #video button[aria-label^="Reset"] { display: none; }
@media (max-width: 640px) {
  #sheet { width: 0; min-width: 100% !important; }
  #sheet .image-container { overflow-x: auto; }
  #sheet .image-container > button { justify-content: flex-start; }
  #sheet img { width: 900px; max-width: none; }
}
"""
)
_WITH_DARKNESS = "(video, model, names, dark) => [video, model, names, document.body.classList.contains('dark')]"
_MOST_WAITING = 30


def page_theme() -> gr.themes.Base:
    """The looks: the reader's own fonts, so that none is fetched, and the blue of the pictures."""
    theme = gr.themes.Default(primary_hue="blue", secondary_hue="blue", font=["system-ui", "sans-serif"])
    # gradio's own is too pale to be read with ease.
    on_light, on_dark = "*neutral_600", "*neutral_300"
    return theme.set(
        body_text_color_subdued=on_light,
        body_text_color_subdued_dark=on_dark,
        block_info_text_color=on_light,
        block_info_text_color_dark=on_dark,
    )


def build_interface(replies: Replies, examples: Sequence[Path]) -> gr.Blocks:
    """Lays the page out.

    Args:
        replies: What answers it. The first of its models is loaded now.
        examples: Videos to try it with.

    Raises:
        RefusedError: The first model cannot be had; a ValueError.
    """
    names_of_models = list(replies.offered.names)
    with replies.offered.lend(names_of_models[0]) as first:
        about, reads_names = texts.about(first), first.text_encoder is not None
    minute = 60
    with gr.Blocks(
        title=texts.TITLE, analytics_enabled=False, delete_cache=(5 * minute, (KEPT_MINUTES - 5) * minute)
    ) as blocks:
        gr.Markdown(f"# {texts.TITLE}\n\n{texts.introduction()}")
        with gr.Row():
            with gr.Column(min_width=320):
                video = gr.Video(label="Video", sources=["upload", "webcam"], elem_id="video")
                gr.Markdown(texts.limits_line(replies.limits, kept_minutes=KEPT_MINUTES), elem_classes="small")
                example = gr.Examples(
                    [[str(path)] for path in examples],
                    [video],
                    label="Or press one of these, which a program drew",
                    preload=False,
                )
                model = gr.Dropdown(names_of_models, value=names_of_models[0], label="Model", elem_id="model")
                about_model = gr.Markdown(about, elem_classes="small")
                names = gr.Textbox(
                    label="Class names",
                    info="Separated by commas or lines. Leave it empty for the model's own classes.",
                    lines=2,
                    placeholder="surfing, tai chi, arm wrestling",
                    visible=reads_names,
                    elem_id="names",
                )
                dark = gr.Checkbox(label="Dark pictures", visible=False)
                button = gr.Button("What happens in it?", variant="primary", elem_id="ask")
            with gr.Column(min_width=320):
                refusal = gr.Markdown(visible=False, elem_id="refusal")
                label = gr.Label(label="What the model sees", num_top_classes=TOP, elem_id="answer")
                above_time = gr.Markdown("### Over time", visible=False)
                over_time = gr.HTML(visible=False, elem_id="over_time")
                above_animation = gr.Markdown("### Interactive points of the middle block, pair by pair", visible=False)
                animation = gr.Video(
                    show_label=False,
                    autoplay=True,
                    loop=True,
                    interactive=False,
                    visible=False,
                    elem_id="animation",
                )
                gr.Markdown(f"{texts.POINT}\n\n{texts.MASK}", elem_classes="small")
        above_sheet = gr.Markdown(
            "### Every pair of frames, in the first, the middle and the last block", visible=False
        )
        sheet = gr.Image(
            show_label=False,
            buttons=["fullscreen", "download"],
            interactive=False,
            visible=False,
            elem_id="sheet",
        )
        question = [video, model, names, dark]
        outputs = [refusal, label, above_time, over_time, above_animation, animation, above_sheet, sheet]
        button.click(replies.recognise, question, outputs, js=_WITH_DARKNESS, api_name="recognise")
        example.load_input_event.then(replies.recognise, question, outputs, js=_WITH_DARKNESS, api_visibility="private")
        model.change(replies.introduce, [model], [about_model, names, refusal], api_visibility="private")
    blocks.queue(default_concurrency_limit=1, max_size=_MOST_WAITING)
    return blocks
