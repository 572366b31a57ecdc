"""Names of the fields that rows carry beside the user's own, the same in every file and on every hop."""

KEY = "_ng_key"
"""Hash of the task as asked and the agent's name."""

TASK_INDEX = "_ng_task_index"
ROLLOUT_INDEX = "_ng_rollout_index"

ROLLOUT_ID = "_ng_rollout_id"
"""An id of the user's own, for rows whose indices repeat."""

ATTEMPT_INDEX = "_ng_attempt_index"
"""How often the rollout had failed before."""

FAILURE_CLASS = "_ng_failure_class"
FAILURE_MESSAGE = "_ng_failure_message"
FAILURE_CAUSE = "_ng_failure_cause"
"""How the process of a check ended: timeout, crash or out_of_memory."""

JUDGE_ERROR = "_ng_failure_judge_error"

FAILURE_TERMINAL = "_ng_failure_terminal"
"""Another try would fail in the same way."""

CONTIGUOUS = "token_ids_contiguous"
"""Of a rollout with token ids, whether each turn's prompt begins with all tokens of the turn before it."""

NO_PERSIST = "_ng_no_persist"
"""The environment asks not to keep the rollout."""
