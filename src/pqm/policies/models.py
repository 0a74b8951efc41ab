"""The folders of policies and backbones: a snapshot of a pretraining, a pretrained model, or a server."""

import shutil
from pathlib import Path

from pqm.errors import PqmError
from pqm.io import formats
from pqm.models.engine_settings import write_engine_settings
from pqm.policies.snapshots import pick_snapshot
from pqm.study.models import BackboneConfig, Pick, PolicyConfig


def write_policy(config: PolicyConfig, pretraining: Path | None, output: Path) -> None:
    """Write the policy to the folder `output`: a plain `transformers` model or a server, with its solution format.

    Args:
        pretraining: the finished pretraining of `config.pick`.

    Raises:
        PqmError: see `pick_snapshot` and `pretrained.write_pretrained_policy`.
    """
    with formats.whole_folder(output) as part:
        if config.pick is not None:
            from pqm.models.error_detection_heads import HEADS

            snapshot = pick_snapshot(config.pick, _given(config.pick, pretraining))
            shutil.copytree(snapshot, part, dirs_exist_ok=True, ignore=shutil.ignore_patterns(HEADS))
        elif config.hub is not None or config.gguf is not None:
            from pqm.models.pretrained import write_pretrained_policy

            write_pretrained_policy(config, part)
        else:
            assert config.format is not None
            config.format.save(part)  # the weights are on a server
        write_engine_settings(config, part)


def write_backbone(config: BackboneConfig, pretraining: Path | None, output: Path) -> None:
    """Write the backbone to `output/model`, and its step head as a reward model to `output/step-classifier`.

    Reward models start from `model` with a new head. `step-classifier` is only a reference, which needs no rollouts; pretrained
    backbones have none.

    Raises:
        PqmError: see `pick_snapshot` and `pretrained.write_pretrained_backbone`.
    """
    with formats.whole_folder(output) as part:
        if config.pick is None:
            from pqm.models.pretrained import write_pretrained_backbone

            write_pretrained_backbone(config, part / "model")
        else:
            _copy_with_classifier(pick_snapshot(config.pick, _given(config.pick, pretraining)), part)


def _given(pick: Pick, pretraining: Path | None) -> Path:
    if pretraining is None:
        raise PqmError(f"the settings pick a snapshot of pretraining {pick.pretraining!r}; pass its folder with --pretraining")
    return pretraining


def _copy_with_classifier(snapshot: Path, part: Path) -> None:
    from pqm.models.error_detection_heads import HEADS, load_heads
    from pqm.models.reward_model import reward_model, save_reward_model
    from pqm.models.step_head import head
    from pqm.solution_format import SolutionFormat

    shutil.copytree(snapshot, part / "model", ignore=shutil.ignore_patterns(HEADS))
    model, tokenizer = reward_model(part / "model", seed=0)
    head(model).weight.data.copy_(load_heads(snapshot, model.config.hidden_size).step.weight.data)
    save_reward_model(model, tokenizer, SolutionFormat.load(snapshot), part / "step-classifier")
