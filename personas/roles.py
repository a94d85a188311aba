"""The roles that a persona may have: what each is for, takes, gives and looks like. One table, in code."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Role:
    """One role. `writes` tells whether its changes to the repository are kept, `loops` whether it may repeat."""

    key: str
    title: str
    purpose: str
    icon: str  # of Tabler's
    colour: str  # of Tabler's
    takes: str
    gives: str
    tool: str = "claude"
    writes: bool = False
    loops: bool = False


ROLES: dict[str, Role] = {
    role.key: role
    for role in (
        Role("designer", "Designer", "Writes the code.", "pencil-code", "blue", "the task, earlier results, findings",
             "commits on the branch", writes=True, loops=True),
        Role("checker", "Checker", "Decides whether the work is good enough.", "checklist", "green",
             "the task and the changes", "a verdict with findings", tool="codex", loops=True),
        Role("optimizer", "Optimizer", "Polishes what works: simpler, faster, clearer.", "sparkles", "purple",
             "the task and the changes", "commits on the branch", writes=True, loops=True),
        Role("prompter", "Prompter", "Turns a rough wish into a specification.", "message-2-bolt", "cyan",
             "a rough prompt", "a specification"),
        Role("planner", "Planner", "Says in which steps and files a task is done.", "list-numbers", "indigo",
             "a task", "a numbered plan that cites files"),
        Role("investigator", "Investigator", "Finds out how things are.", "search", "azure", "a question",
             "findings with evidence"),
        Role("deep-dive", "Deep dive", "Studies one subject to the bottom.", "microscope", "teal", "a subject",
             "a report"),
        Role("reviewer", "Reviewer", "Reads a change as a colleague would.", "eye-code", "orange", "a diff",
             "remarks by file and line"),
        Role("evaluator", "Evaluator", "Scores finished work.", "gauge", "yellow", "the task and the result",
             "a score from 0 to 100 with reasons"),
        Role("judge", "Judge", "Chooses among candidates.", "scale", "red", "several branches without names",
             "a choice with reasons"),
        Role("answerer", "Answerer", "Answers open questions from the repository.", "help-circle", "lime", "questions",
             "answers with confidence and evidence"),
        Role("custom", "Custom", "Whatever its instructions say.", "puzzle", "secondary", "a task", "text",
             writes=True),
    )
}  # fmt: skip

CHOICES = [(role.key, role.title) for role in ROLES.values()]
