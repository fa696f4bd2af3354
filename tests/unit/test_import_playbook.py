"""
Playbooks: tasks as descriptions and parameters, and everything that is no such row.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetuned.errors import CannotImport
from finetuned.sources.imports.found import Found, FoundRow, Refusal, Source
from finetuned.sources.imports.playbook import read
from finetuned.sources.imports.yaml_values import BadYaml, Vaulted, documents, plain

pytest.importorskip("ruamel.yaml")

SITE = """---
- name: Name server
  hosts: dns
  vars: {zone: example.org}
  pre_tasks:
    - name: Refresh the package lists
      apt: update_cache=yes cache_valid_time=3600
  tasks:
    - name: Install bind9 and its tools
      ansible.builtin.apt: {name: [bind9, bind9utils], state: present}
      become: yes
      when: ansible_os_family == "Debian"
    - block:
        - name: Create the user jdoe
          user:
            name: jdoe
            password: !vault |
              $ANSIBLE_VAULT;1.1;AES256
              3132
      rescue:
        - debug: msg=failed
    - name: Set the mode of /etc/motd
      file: {path: /etc/motd, mode: 0644}
  handlers:
    - name: Reload bind9
      command: rndc reload
      args: {chdir: /etc/bind}
"""


def found_in(folder: Path, text: str | bytes) -> list[Found]:
    path = folder / "site.yml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return list(read(Source(path, 1 << 20)))


def exchanges(found: list[Found]) -> list[tuple[str, dict[str, object]]]:
    return [
        (row.row["messages"][0]["content"], json.loads(row.row["messages"][1]["content"]))  # type: ignore[index]
        for row in found
        if isinstance(row, FoundRow)
    ]


def task(text: str) -> str:
    """
    Return a list of one task with a name.
    """
    return f"- name: Do it\n  {text}\n"


def test_each_task_is_its_description_and_its_parameters(tmp_path: Path) -> None:
    """
    Of every list of a play, with blocks; what says how it is run is left out.
    """
    assert [
        (
            "Refresh the package lists",
            {"module": "ansible.builtin.apt",
             "args": {"update_cache": True, "cache_valid_time": "3600"}},
        ),
        (
            "Install bind9 and its tools",
            {"module": "ansible.builtin.apt",
             "args": {"name": ["bind9", "bind9utils"], "state": "present"}},
        ),
        (
            "Create the user jdoe",
            {"module": "ansible.builtin.user",
             "args": {"name": "jdoe", "password": "secret://password"}},
        ),
        (
            "Set the mode of /etc/motd",
            {"module": "ansible.builtin.file", "args": {"path": "/etc/motd", "mode": "0644"}},
        ),
        (
            "Reload bind9",
            {"module": "ansible.builtin.command",
             "args": {"chdir": "/etc/bind", "cmd": "rndc reload"}},
        ),
    ] == exchanges(found_in(tmp_path, SITE))  # fmt: skip


def test_a_row_says_where_its_task_stands(tmp_path: Path) -> None:
    """
    File, line and the path in the play; no confidence, since nobody knows it.
    """
    rows = [row for row in found_in(tmp_path, SITE) if isinstance(row, FoundRow)]

    assert ["site.yml:6 ([1].pre_tasks[1])", "site.yml:14 ([1].tasks[2].block[1])"] == [
        str(rows[0].place),
        str(rows[2].place),
    ]
    assert [None] * 5 == [row.confidence for row in rows]
    assert [False, False, True, False, False] == [row.had_secrets for row in rows]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("- apt: name=x\n", "no_description"),
        (task('copy: {dest: "{{ path }}", content: x}'), "template"),
        ("- name: Write {{ file }}\n  copy: {dest: /x, content: x}\n", "template"),
        (task("apt: name={{ item }}\n  loop: [a, b]"), "loop"),
        (task("apt: {name: x}\n  with_items: [a, b]"), "loop"),
        (task("user: {name: x}\n  no_log: true"), "no_log"),
        (task("debug: {msg: x}"), "steering"),
        (task("ansible.builtin.include_tasks: other.yml"), "steering"),
        (task("apt: {name: x}\n  yum: {name: x}"), "no_module"),
        (task("when: true"), "no_module"),
        (task("reboot:"), "bad_parameters"),
        (task("apt: nginx"), "bad_parameters"),
        (task("apt: 'name=\"x'"), "bad_parameters"),
        (task("apt: [a]"), "bad_parameters"),
        (task("copy: {content: !binary aGk=, dest: /x}"), "bad_yaml"),
        (task("copy: {content: .inf, dest: /x}"), "bad_yaml"),
        (task("copy: {content: &a [*a], dest: /x}"), "bad_file"),
        ("just text", "no_tasks"),
        ("- just text", "no_tasks"),
        ("a: [", "bad_file"),
        ("a: 1\na: 2", "bad_file"),
        ("- \xff".encode("latin-1"), "bad_file"),
        ("[" * 3000, "bad_file"),
        ("$ANSIBLE_VAULT;1.1;AES256\n31\n", "encrypted"),
    ],
)
def test_what_is_no_row_is_refused_with_its_reason(
    tmp_path: Path, text: str | bytes, reason: str
) -> None:
    """
    Nothing is guessed: no description, no value of a variable, no meaning of a tag.
    """
    assert [reason] == [
        found.reason if isinstance(found, Refusal) else "a row"
        for found in found_in(tmp_path, text)
    ]


def test_references_that_grow_are_refused_before_they_fill_the_memory() -> None:
    """
    Ten lines of YAML can stand for a million million values.
    """
    lines = ["a: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"b{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    (document,) = documents("\n".join(lines).encode())

    with pytest.raises(BadYaml, match="too large"):
        plain(document, vaulted=Vaulted())


@settings(max_examples=80, deadline=None)
@given(st.text("-: \n[]{}&*!'\"|>%#,?ab1~\t", max_size=40))
def test_any_text_is_values_or_one_clear_refusal(text: str) -> None:
    """
    Whatever is wrong with it.
    """
    try:
        values = [plain(document, vaulted=Vaulted()) for document in documents(text.encode())]
    except BadYaml:
        return
    json.dumps(values)


def test_words_mean_what_ansible_takes_them_for() -> None:
    """
    Quotes make a text of yes, and digits of a mode stay.
    """
    (found,) = documents(
        b"{a: yes, b: 'yes', c: Off, d: 0644, e: 10, f: ~, g: !unsafe '{x}', h: on}"
    )
    assert {
        "a": True, "b": "yes", "c": False, "d": "0644", "e": 10, "f": None, "g": "{x}", "h": True,
    } == plain(found, vaulted=Vaulted())  # fmt: skip


def test_a_folder_is_read_without_its_variables_and_hidden_files(tmp_path: Path) -> None:
    """
    In the order of their names; a file that is broken is one refusal.
    """
    good = "- name: Reboot {0}\n  command: reboot {0}\n"
    for name in ("b.yml", "roles/web/tasks/main.yaml", "roles/web/vars/main.yml", ".git/x.yml"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(good.format(path.stem))
    (tmp_path / "a.yml").write_text("a: [")
    found = list(read(Source(tmp_path, 1 << 20)))

    assert ["a.yml", "b.yml", "roles/web/tasks/main.yaml"] == [item.place.file for item in found]
    assert isinstance(found[0], Refusal)


def test_a_folder_without_yaml_is_refused(tmp_path: Path) -> None:
    """
    With what is looked for.
    """
    with pytest.raises(CannotImport, match=r"\.yml"):
        list(read(Source(tmp_path, 1 << 20)))
