"""A model server for tests: Anthropic Messages, OpenAI Responses and Chat Completions, scripted in the prompt.

A prompt holds directives, and each model call answers the next one after the tool results that it is shown:

    [[think: I should look.]] [[shell: echo hi]] [[write: /home/user/project/a.txt | hello]] [[say: All done.]]

    think, note      thinking or text before the next action
    shell, write     a call of whatever tool the request offers for it; `tool: NAME {json}` names it, and `<<say: x>>`
                     in its JSON is a directive for whoever reads that
    say              the answer that ends the turn; without one it is "Done."
    slow: MS         pause between the deltas from here on
    fail: 529        this status instead of an answer; `fail: 529 once` (or `3 times`) until it has happened so often
    cut, stall       end, or fall silent, after the first delta; broken: an error event inside the stream
    hang             no headers ever; all of these also with `: once`

Every call reports other token counts, and a model whose name begins with `unknown` does not exist.
"""

from .server import ModelServer, Request

__all__ = ["ModelServer", "Request"]
