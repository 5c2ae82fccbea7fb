"""Values of one's own: handed out, graded with the same, and told where they are another's."""

import nbformat
import pytest
import release
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from small_course import answer, points

from grader import cells, per_student
from tools import build_exercises as build

CHECKS = """
from grader.checks import Case, Close, Exact, Task, between

def per_student(rng):
    return {"FACTOR": between(rng, 3, 10**6), "PROMPT": str(rng.choice(["a", 'ä "\\\\n', "dog"])),
            "sizes": [between(rng, 1, 9), 0.5]}

SCALE = Task(
    grade_id="scale", entry="scale", compare=Close(),
    cases=lambda rng: [Case(rng.normal(size=3).tolist())],
    misconceptions=[("adds", "FACTOR *", "FACTOR +", "multiply, don't add")])
LENGTH = Task(
    grade_id="length", entry="n", compare=Exact(),
    misconceptions=[("without-factor", "FACTOR + ", "", "add the factor as well")])
"""
VALUES = "# Yours.\nFACTOR = 2  # ü\nPROMPT = 'cat'\nsizes = [1, 0.5]"
SCALE = "def scale(x):\n    return [FACTOR * item for item in x]"
SOLUTIONS = {  # by task what is handed out, the solution, and a visible test
    "scale": ("def scale(x):", "    return [FACTOR * item for item in x]",
              'assert scale([1]) == [FACTOR], "one"'),
    "length": ("n = None", "n = FACTOR + len(PROMPT) + sizes[0]", 'assert n > 0, "a length"'),
}  # fmt: skip
NAMES = ["Ann Lee", "José", "Ben"]


def marked(source, grade_id, tags=(), **fields):
    mark = {"grade": False, "solution": False, "locked": False, "schema_version": 3,
            "task": False, "cell_type": "code", "grade_id": grade_id}  # fmt: skip
    metadata = {"nbgrader": {**mark, **fields}, **({"tags": list(tags)} if tags else {})}
    return new_code_cell(source, id=grade_id, metadata=metadata)


@pytest.fixture
def course(tmp_path):
    """One exercise with values of one's own, and a roster."""
    root = tmp_path / "course"
    (root / "solutions" / "checks").mkdir(parents=True)
    made = [marked(VALUES, "values", ["per-student"], locked=True)]
    for task, (head, solution, test) in SOLUTIONS.items():
        pad = "    " if head.startswith("def") else ""
        source = f"{head}\n{pad}### BEGIN SOLUTION\n{solution}\n{pad}### END SOLUTION"
        text = "Difficulty 1 of 5 · 2 minutes · 2 points"
        made += [new_markdown_cell(text, id=f"text-{task}"), marked(source, task, solution=True),
                 marked(test, f"test-{task}", grade=True, locked=True, points=2)]  # fmt: skip
    nbformat.write(new_notebook(cells=made), root / "solutions" / "01_own.ipynb")
    (root / "solutions" / "checks" / "01_own.py").write_text(CHECKS)
    build.build(root)
    (root / "roster.csv").write_text("Full name\n" + "\n".join(NAMES) + "\n", encoding="utf-8")
    return root


def handed_out(course, student, seed=5):
    """The exercise of this student, as the release has it."""
    files = release.per_student_files(course, course / "roster.csv", seed)
    [content] = [each for name, each in files.items() if name.startswith(student)]
    return nbformat.reads(content.decode(), as_version=4)


def own_names(notebook):
    names = {}
    exec(cells.find_cell(notebook, "values").source, names)
    return {name: names[name] for name in ("FACTOR", "PROMPT", "sizes")}


def hand_in(folder, student, notebook, **answers):
    for task in SOLUTIONS:
        cells.find_cell(notebook, task).source = answers[task]
    (folder / student).mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, folder / student / "01_own.ipynb")


def typed_in(notebook):
    """Right answers, with the student's numbers as the student would have computed them."""
    own = own_names(notebook)
    n = own["FACTOR"] + len(own["PROMPT"]) + own["sizes"][0]
    return {"scale": f"def scale(x):\n    return [item * {own['FACTOR']} for item in x]",
            "length": f"n = {n}"}  # fmt: skip


def test_the_same_student_gets_the_same_and_others_others(course):
    first = own_names(handed_out(course, "Ann"))
    assert first == own_names(handed_out(course, "Ann"))
    (course / "roster.csv").write_text("Full name\nZoe\nAnn Lee\n")
    assert first == own_names(handed_out(course, "Ann"))
    others = [own_names(handed_out(course, "Zoe")), own_names(handed_out(course, "Ann", seed=6))]
    factors = {each["FACTOR"] for each in (first, *others)}
    assert len(factors) == 3
    assert all(3 <= factor < 10**6 for factor in factors)


def test_what_is_handed_out_differs_in_the_values_alone(course):
    given = cells.read_notebook(course / "exercises" / "01_own.ipynb")
    own = handed_out(course, "Ann")
    nbformat.validate(own)
    same = [one.source == other.source for one, other in zip(given.cells, own.cells, strict=True)]
    assert same == [False] + [True] * (len(same) - 1)
    source = cells.find_cell(own, "values").source
    assert source.startswith("# Yours.\nFACTOR = ")
    assert source.splitlines()[1].endswith("  # ü")
    assert "NotImplementedError" in cells.find_cell(own, "scale").source


def test_each_is_graded_with_their_own_values(course, tmp_path, grade_here):
    folder, settings = tmp_path / "in", {"roster": course / "roster.csv", "seed": 5}
    ann, ben = handed_out(course, "Ann"), handed_out(course, "Ben")
    hand_in(folder, "Ann Lee", ann, **typed_in(ann))
    hand_in(folder, "Ben", ben, **typed_in(ben))
    hand_in(folder, "Jose\N{COMBINING ACUTE ACCENT}", ann, **typed_in(ann))  # Ann's notebook
    hand_in(folder, "Eve", ben, **typed_in(ben))  # in nobody's roster
    outcome = grade_here(per_student=True, **settings)
    full, none = {"scale": 2, "length": 2}, {"scale": 0, "length": 0}
    assert points(outcome) == {"Ann Lee": full, "Ben": full, "José": none}
    assert [path for path, _ in outcome.rejected] == ["Eve/01_own.ipynb"]
    told = [who for who, _, what in outcome.book.to_look_at() if "values of one's own" in what]
    assert told == ["José"]
    # A results folder knows that it is one of these; who forgets the option loses nobody's points.
    assert points(grade_here(**settings)) == points(outcome)
    assert grade_here(**settings).n_graded == 0


def test_a_mistake_is_recognised_with_ones_own_values(course, tmp_path, grade_here):
    ann = handed_out(course, "Ann")
    own = own_names(ann)
    answers = {"scale": f"def scale(x):\n    return [item + {own['FACTOR']} for item in x]",
               "length": f"n = {len(own['PROMPT']) + own['sizes'][0]}"}  # fmt: skip
    hand_in(tmp_path / "in", "Ann Lee", ann, **answers)
    outcome = grade_here(per_student=True, roster=course / "roster.csv", seed=5)
    found = [answer(outcome, "Ann Lee", task)["misconception"] for task in SOLUTIONS]
    assert found == ["adds", "without-factor"]


def test_forgotten_in_a_new_folder_it_is_told(course, tmp_path, grade_here):
    ann = handed_out(course, "Ann")
    hand_in(tmp_path / "in", "Ann Lee", ann, **typed_in(ann))
    outcome = grade_here(seed=5)
    [(_, where, what)] = outcome.book.to_look_at()
    assert (where, "was --per-student forgotten" in what) == ("01_own", True)


@pytest.mark.parametrize("settings", [{"seed": 5}, {"roster": "roster.csv", "seed": None}])
def test_without_roster_or_seed_nothing_is_graded(course, tmp_path, grade_here, settings):
    ann = handed_out(course, "Ann")
    hand_in(tmp_path / "in", "Ann Lee", ann, **typed_in(ann))
    if "roster" in settings:
        settings = {**settings, "roster": course / "roster.csv"}
    with pytest.raises(ValueError, match="per_student: needs the roster and the seed"):
        grade_here(per_student=True, **settings)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("def per_student", "def other", r"needs a function per_student\(rng\)"),
        ('"FACTOR"', '"FAKTOR"', "'FACTOR = 2' assigns no value that is drawn"),
        ('"sizes": [', '"more": 1, "sizes": [', "the cell assigns no more"),
        ("between(rng, 1, 9), 0.5", "rng", "sizes: needs plain data"),
        ("between(rng, 3, 10**6)", "0", "needs plain data|cannot be told"),
    ],
)  # fmt: skip
def test_values_that_do_not_fit_are_refused_before_they_are_handed_out(course, old, new, told):
    checks = course / "solutions" / "checks" / "01_own.py"
    assert CHECKS.count(old) == 1
    checks.write_text(CHECKS.replace(old, new))
    with pytest.raises(release.ReleaseError, match=told):
        release.per_student_files(course, course / "roster.csv", 5)


def test_a_tagged_cell_must_be_setup_and_an_exercise_must_have_one(course):
    notebook = cells.read_notebook(course / "solutions" / "01_own.ipynb")
    notebook.cells[0].metadata.nbgrader.locked = False
    assert build.lint(notebook) == [
        "cell 0 (values): a cell tagged per-student must be locked setup"
    ]
    del notebook.cells[0].metadata["tags"]
    nbformat.write(notebook, course / "solutions" / "01_own.ipynb")
    assert per_student.solution_of(course, "01_own", 5, "Ann Lee") is None
    with pytest.raises(release.ReleaseError, match="no solution notebook has a cell tagged"):
        release.per_student_files(course, course / "roster.csv", 5)
