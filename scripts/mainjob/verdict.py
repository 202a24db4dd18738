"""verdict.py: did the server do the same with Coppice as without? Every fault is a line; no line means it did."""


def equal_answers(one, other):
    """How many answers of the sequential pass have the same text in both runs."""
    return sum(a.text is not None and a.text == b.text for a, b in zip(one.sequential, other.sequential))


def first_difference(one, other):
    for number, (a, b) in enumerate(zip(one.sequential, other.sequential)):
        if a.text != b.text:
            return f"answer {number + 1}: {a.text!r} became {b.text!r}"
    return None


def faults(plain, control, coppice, compare_text):
    """Lines that say what differs. `control` is a second run without Coppice, or None; text is compared only if asked."""
    found = []
    if len(plain.answers) != len(coppice.answers):
        found.append(f"{len(coppice.answers)} requests with Coppice, {len(plain.answers)} without")
    if len(coppice.errors) > len(plain.errors):
        found.append(f"{len(coppice.errors)} errors with Coppice, {len(plain.errors)} without; the first: {coppice.errors[0]}")
    if coppice.status != plain.status:
        found.append(f"exit status {coppice.status} with Coppice, {plain.status} without")
    if coppice.live is False:
        found.append("SIGUSR1 brought no statistics, or the server stopped answering after it")
    if compare_text:
        allowed = equal_answers(plain, control or plain)
        equal = equal_answers(plain, coppice)
        if equal < allowed:
            found.append(f"{equal} of {len(plain.sequential)} answers equal with Coppice, {allowed} in the control: "
                         f"{first_difference(plain, coppice)}")
    return found
