"""
The words of a playbook: keys of a task that are no module, and modules that Ansible itself brings.
"""

from __future__ import annotations

from typing import Final

_KEYWORDS: Final = """
    action any_errors_fatal args async become become_exe become_flags become_method
    become_user changed_when check_mode collections connection debugger delay delegate_facts
    delegate_to diff environment failed_when ignore_errors ignore_unreachable listen
    local_action loop loop_control module_defaults name no_log notify poll port register
    remote_user retries run_once tags throttle timeout until vars when first_available_file
    always_run sudo sudo_user su su_user block rescue always hosts
    """
KEYWORDS: Final = frozenset(_KEYWORDS.split())
"""Keys of a task that say how it is run, beside ``with_items`` and the like."""

LISTS_OF_TASKS: Final = (
    "pre_tasks",
    "tasks",
    "post_tasks",
    "handlers",
    "block",
    "rescue",
    "always",
)
"""Keys of a play or of a block that hold tasks, in the order in which they are run."""

_BUILTIN: Final = """
    add_host apt apt_key apt_repository assemble assert async_status blockinfile command
    copy cron deb822_repository debconf debug dnf dnf5 dpkg_selections expect fail fetch
    file find gather_facts get_url getent git group group_by hostname import_playbook
    import_role import_tasks include_role include_tasks include_vars iptables known_hosts
    lineinfile meta mount_facts package package_facts pause ping pip raw reboot replace
    rpm_key script service service_facts set_fact set_stats setup shell slurp stat
    subversion systemd systemd_service sysvinit tempfile template unarchive uri user
    validate_argument_spec wait_for wait_for_connection yum yum_repository include
    """
BUILTIN: Final = frozenset(_BUILTIN.split())
"""Modules of the collection ansible.builtin, which playbooks also name without it."""

FREE_FORM: Final = frozenset(("command", "shell", "script", "raw", "expect"))
"""Modules whose text is what is run, and no list of parameters."""

_STEERING: Final = """
    add_host assert async_status debug fail gather_facts group_by import_playbook
    import_role import_tasks include include_role include_tasks include_vars meta pause
    set_fact set_stats setup validate_argument_spec wait_for_connection
    """
STEERING: Final = frozenset(_STEERING.split())
"""Modules that steer a play and change nothing on a host: nobody asks for them."""


def full_name(module: str) -> str:
    """
    Return the one spelling of a module: ``apt`` is ansible.builtin.apt.
    """
    for prefix in ("ansible.legacy.", "ansible.builtin."):
        module = module.removeprefix(prefix)
    return f"ansible.builtin.{module}" if module in BUILTIN else module


def short_name(module: str) -> str:
    """
    Return the last part of a module's name.
    """
    return module.rpartition(".")[2]
