"""
Keys of rows and of turns: which are used, kept, or refused because they change what a row means.

A reader gives every key to one of these; a key that is in none of them is unknown, and
is counted. Knows names of keys; does not read rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import orjson

from finetuned.errors import MalformedExample

Row = Mapping[str, object]
"""A parsed row, or a turn of one."""


class KeyUse(StrEnum):
    """
    What a reader does with a key that it knows and does not refuse.
    """

    USED = "used"
    KEPT = "kept"  # with the row's metadata; it does not change what is learned


@dataclass(frozen=True, slots=True)
class Refused:
    """
    A key that says something about its row that training cannot honour.
    """

    code: str
    """The code of the refusal."""
    meaning: str
    """What the key says, as the end of the sentence "x = 1 ..."."""
    remedy: str
    """What to do, as a sentence of its own without a full stop."""
    allowed: tuple[object, ...] = ()
    """Values that say nothing. Null and empty values never do."""

    def check(self, where: str, value: object) -> None:
        """
        Refuse *value*, unless it says nothing.

        Args:
            where: The key, with its place in the row.
            value: What stands there.

        Raises:
            MalformedExample: With this code.
        """
        if value is None or value == "" or value == [] or value == {} or value in self.allowed:
            return
        raise MalformedExample(
            self.code, f"{where} = {shown(value)} {self.meaning}", hint=self.remedy
        )


Keys = Mapping[str, KeyUse | Refused]
"""Key -> what is done with it; a key that is missing is unknown."""


def shown(value: object) -> str:
    """
    Return *value* as JSON of at most 60 characters.
    """
    text = orjson.dumps(value).decode()
    return text if len(text) <= 60 else f"{text[:57]}..."


def table(
    used: tuple[str, ...],
    kept: frozenset[str],
    refused: Mapping[Refused, str],
    *others: Mapping[Refused, str],
) -> Keys:
    """
    Return the keys of one reader.

    Args:
        used: Keys that the reader uses; they win over all others.
        kept: Keys that are kept with the row.
        refused: Reason -> keys, separated by white space.
        others: More of them.
    """
    found: dict[str, KeyUse | Refused] = dict.fromkeys(sorted(kept), KeyUse.KEPT)
    for group in (refused, *others):
        for reason, names in group.items():
            found.update(dict.fromkeys(names.split(), reason))
    found.update(dict.fromkeys(used, KeyUse.USED))
    return found


MARKS: Final = (
    "weight",
    "loss",
    "train",
    "training",
    "trainable",
    "loss_mask",
    "masked",
    "never_train",
    "is_eval",
)
"""Keys of a row or of a turn that say whether it is trained."""

INVERTED_MARKS: Final = frozenset({"masked", "never_train", "is_eval"})
"""Marks that are true if nothing is trained."""

_KEPT: Final = """
    id _id uid uuid guid idx index row_id sample_id example_id conversation_id chat_id
    session_id dialogue_id prompt_id message_id question_id task_id item_id hash sha256
    __index_level_0__
    date time timestamp created created_at updated updated_at create_time update_time datetime
    source sources origin dataset dataset_name subset split url link file file_name filename
    path file_path license licence author user user_id owner model model_name model_id
    generator provider version revision commit
    metadata answer_format meta info extra tags tag topic topics category subcategory domain
    type task task_type task_name
    language lang locale difficulty level title name comment note notes
    keywords confidence verified quality quality_score n_tokens num_tokens num_turns length
    word_count perplexity seed
    temperature top_p max_tokens max_completion_tokens stream store parallel_tool_calls
    tool_choice
    """
KEPT: Final = frozenset(_KEPT.split())
"""Ids, dates, sources and descriptions, which no format gives another meaning."""

_PAIR: Final = Refused(
    "preference_row",
    "belongs to a preference pair, of which one answer is the worse",
    "Training learns every answer it is given: drop rows with the good answer alone",
)
_LABEL: Final = Refused(
    "preference_row",
    "says whether the answer is good, or which class it has",
    "Training learns every answer it is given: drop only the good ones, without this key; a "
    "label that only describes the row belongs in metadata",
)
_JUDGED: Final = Refused(
    "preference_row",
    "says that the answer is not good",
    "Training learns every answer it is given: remove the row, or correct its answer and the key",
    allowed=(True, 1, "true", "yes", "thumbs_up", "up", "like"),
)
_STEPS: Final = Refused(
    "preference_row",
    "judges several answers or single steps",
    "Drop rows with one good answer each",
)
_MEDIA: Final = Refused(
    "media_row",
    "is part of the question, and only text is trained",
    "Remove rows about images, sound or video, or write what they show as text",
)
_TOKENS: Final = Refused(
    "tokenized_row",
    "is tokenised already",
    "Drop the text instead: every version tokenises it for its own base model",
)
_RENDERING: Final = Refused(
    "unsupported_key",
    "changes how this one row is rendered",
    "One setting renders all rows, in training and in use (model.enable_thinking); remove the key",
)

REFUSED_ROWS: Final[Mapping[Refused, str]] = {
    _PAIR: """chosen rejected rejected_response rejected_messages chosen_messages
        preferred_output non_preferred_output preferred_completion non_preferred_completion
        chosen_response margin score_chosen score_rejected chosen_score rejected_score
        chosen_rating rejected_rating response_a response_b winner preference preferred""",
    _LABEL: "label kto_tag kto_label desirable reward rewards advantage advantages",
    _JUDGED: "is_chosen is_preferred is_correct user_feedback",
    _STEPS: "completions labels step_labels step_rewards stepwise_labels ratings rankings",
    _MEDIA: """images image videos video audios audio image_path image_url image_urls
        video_path audio_path pixel_values objects bbox""",
    _TOKENS: """input_ids attention_mask token_type_ids position_ids prompt_ids
        completion_ids completion_mask assistant_masks prompt_token_ids""",
    _RENDERING: "chat_template chat_template_kwargs enable_thinking channel loss_scale",
}
"""Reason -> keys of a row that are refused in every format."""

_PART: Final = Refused(
    "partial_loss",
    "says which part of a turn is trained",
    "A turn is trained whole or not at all: give it train = false, or write one row for each part",
)
_REFUSAL: Final = Refused(
    "unsupported_key",
    "stands beside the content as another answer",
    "Write the refusal as the content of the turn",
)
_OTHER_REASONING: Final = Refused(
    "unsupported_key",
    "holds reasoning in a spelling that is not read",
    "Rename it to reasoning_content, as one text, or remove it",
)
_TURN_TOOLS: Final = Refused(
    "unsupported_key",
    "lists tools inside a turn",
    "Move the list to the row, as tools",
)
_PREFIX: Final = Refused(
    "unsupported_key",
    "says that the turn is only the beginning of an answer",
    "Write the whole answer into one assistant turn",
    allowed=(False,),
)
_CHANNEL: Final = Refused(
    "unsupported_key",
    "sends the turn to a channel of its own",
    "Write reasoning as reasoning_content of the answer's turn",
    allowed=("final", "all"),
)

TURN_KEPT: Final = KEPT - {"tool_choice", "name"} | {"end_turn", "finish_reason", "annotations"}
"""What a turn says about itself and no format gives another meaning."""

REFUSED_TURNS: Final[Mapping[Refused, str]] = {
    _PAIR: "chosen rejected",
    _LABEL: "label reward",
    _JUDGED: "is_correct",
    _MEDIA: "image images video videos audio audios image_url",
    _PART: "train_detail loss_scale",
    _REFUSAL: "refusal",
    _OTHER_REASONING: "reasoning_details thinking_blocks thought thoughts cot chain_of_thought",
    _TURN_TOOLS: "tools functions",
    _PREFIX: "prefix partial",
    _CHANNEL: "channel recipient",
}
"""Reason -> keys of a turn that are refused."""
