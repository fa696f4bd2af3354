"""
A conversation of ChatGPT's export: a tree of messages, of which one branch is what was shown. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping


class NotAConversation(ValueError):
    """
    A conversation that is no row: the word by which it is counted, and a sentence.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def turns_of(conversation: Mapping[str, object]) -> list[dict[str, object]]:
    """
    Return the turns of the branch that ends at ``current_node``.

    Raises:
        NotAConversation: The tree is damaged, tools were used, or it is not all text.
    """
    nodes = conversation.get("mapping")
    at = conversation.get("current_node")
    if not isinstance(nodes, dict) or not isinstance(at, str):
        raise NotAConversation("damaged", "there is no mapping with its current_node")
    branch: list[object] = []
    seen: set[str] = set()
    while isinstance(at, str):
        node = nodes.get(at)
        if at in seen or not isinstance(node, dict):
            raise NotAConversation("damaged", f"the message {at[:40]!r} is missing, or comes twice")
        seen.add(at)
        branch.append(node.get("message"))
        at = node.get("parent")
    turns = (_turn(message) for message in reversed(branch) if isinstance(message, dict))
    return [turn for turn in turns if turn is not None]


def _turn(message: Mapping[str, object]) -> dict[str, object] | None:
    """Return a turn; None if the message was hidden or has nothing in it."""
    author, content, about = (message.get(key) for key in ("author", "content", "metadata"))
    if isinstance(about, dict) and about.get("is_visually_hidden_from_conversation"):
        return None
    role = author.get("role") if isinstance(author, dict) else None
    if not isinstance(content, dict) or not isinstance(role, str):
        raise NotAConversation("damaged", "a message has no author, or no content")
    if role == "tool" or message.get("recipient", "all") != "all":
        raise NotAConversation(
            "uses_tools", "answers rest on tools of ChatGPT, which a model here does not have"
        )
    parts = content.get("parts")
    if content.get("content_type") != "text" or not isinstance(parts, list):
        raise NotAConversation(
            "not_text", f"a message is {str(content.get('content_type'))[:40]}, and only text is "
            "trained"
        )  # fmt: skip
    if not all(isinstance(part, str) for part in parts):
        raise NotAConversation("not_text", "a message has parts that are no text")
    text = "".join(map(str, parts))
    return {"role": role, "content": text} if text.strip() else None
