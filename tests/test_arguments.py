"""A wrong number on the command line is refused in a line, before anything is asked."""

import pytest
from django.core.management import CommandError, call_command

WRONG = ["-1", "0", "1001", "9" * 30, "1e3", "ten", ""]


@pytest.mark.parametrize("text", WRONG)
@pytest.mark.parametrize("command", ["deadletters", "saga", "services"])
def test_a_page_of_a_list_has_from_1_to_1000_rows(command, text):
    with pytest.raises(CommandError, match=r"--limit: must be a whole number from 1 to 1000, not '"):
        call_command(command, "list", f"--limit={text}")


def test_a_barrier_is_pruned_in_a_database_that_there_is():
    with pytest.raises(CommandError, match=r"--database: invalid choice: 'nowhere'"):
        call_command("prune_saga_barriers", "--database=nowhere")
