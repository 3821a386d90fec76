import pytest

from crenel.auditor.job import read_job, seconds
from crenel.errors import UsageError

TOML = """
[{0}target.income]
model = "model.joblib"
label = "income"
[{0}target.income.access]
attacker = "labels"
[{0}audit]
time = "90s"
seed = 7
memory = "3.5GB"
[[{0}policy.limit]]
check = "EVA-102"
budget = 2
harm = 0.2
"""


@pytest.mark.parametrize(
    ("text", "value"),
    [("90", 90), ("90s", 90), ("2m", 120), ("1.5h", 5400), (30, 30), (" 2 m", 120)],
)
def test_durations(text, value):
    assert seconds(text) == value


@pytest.mark.parametrize("text", ["", "soon", "-3s", "0", "2d", "1m30s"])
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(UsageError, match="not a duration"):
        seconds(text)


@pytest.mark.parametrize(
    ("name", "prefix"), [("crenel.toml", ""), ("pyproject.toml", "tool.crenel.")]
)
def test_both_files_say_the_same(tmp_path, name, prefix):
    (tmp_path / name).write_text(TOML.format(prefix))
    job = read_job(tmp_path)
    assert [t.name for t in job.targets] == ["income"]
    assert job.targets[0].access.attacker == "labels"
    assert (job.settings.time, job.settings.seed, job.settings.memory) == (90, 7, 3.5)
    assert job.policy.limits[0].harm == 0.2
    assert job.root == tmp_path.resolve()


def test_the_command_line_goes_before_the_file(tmp_path):
    (tmp_path / "crenel.toml").write_text(TOML.format(""))
    job = read_job(tmp_path / "crenel.toml", seed=9, time="5s", jobs=None)
    assert (job.settings.seed, job.settings.time, job.settings.jobs) == (9, 5, 2)


def test_without_a_policy_the_built_in_one_judges(tmp_path):
    (tmp_path / "crenel.toml").write_text('[target.a]\nmodel = "m"\n')
    assert read_job(tmp_path).policy.name == "default"


def test_a_folder_without_a_configuration_is_told(tmp_path):
    with pytest.raises(UsageError, match=r"there is no crenel\.toml in"):
        read_job(tmp_path)
