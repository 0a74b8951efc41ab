"""Train a process reward model with TRL's PRMTrainer, as a peer of ours; run in TRL's own environment.

python benchmarks/peers/trl_prm.py SETTINGS

SETTINGS is a JSON file: `model` and `rows` (a folder and a JSON file of rows for TRL), `batch` (rows per batch), `rates` (the
learning rate of each step), `clip`, `strategy` (of sampling) and `checkpointing` (of gradients). Prints JSON: CPU seconds of the
training and the loss of each step.
"""

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import AutoModelForTokenClassification, AutoTokenizer, PrinterCallback
from trl.experimental.prm import PRMConfig, PRMTrainer


def trained(settings: dict[str, Any], folder: str) -> dict[str, Any]:
    """Train, and return CPU seconds and losses."""
    model = AutoModelForTokenClassification.from_pretrained(settings["model"], dtype=torch.float32)
    rates = settings["rates"]
    # Two logits move apart twice as fast as one logit moves, so the head has half the rate.
    groups = [
        {"params": model.base_model.parameters(), "lr": 1.0},
        {"params": model.score.parameters(), "lr": 0.5},
    ]
    optimizer = torch.optim.AdamW(groups, weight_decay=0.0, fused=True)  # TRL's default is fused, too
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rates[min(step, len(rates) - 1)])
    trainer = PRMTrainer(
        model=model,
        args=PRMConfig(
            output_dir=folder,
            per_device_train_batch_size=settings["batch"],
            num_train_epochs=1,
            max_grad_norm=settings["clip"],
            max_length=None,
            train_sampling_strategy=settings["strategy"],
            gradient_checkpointing=settings["checkpointing"],
            bf16=False,
            use_cpu=True,
            dataloader_pin_memory=False,
            logging_steps=1,
            report_to="none",
            save_strategy="no",
            disable_tqdm=True,
            seed=0,
        ),
        train_dataset=Dataset.from_list(json.loads(Path(settings["rows"]).read_text())),
        processing_class=AutoTokenizer.from_pretrained(settings["model"]),
        optimizers=(optimizer, schedule),
    )
    trainer.remove_callback(PrinterCallback)
    begin = time.process_time()
    trainer.train()
    seconds = time.process_time() - begin
    return {"seconds": seconds, "losses": [row["loss"] for row in trainer.state.log_history if "loss" in row]}


if __name__ == "__main__":
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as unused:
        print(json.dumps(trained(json.loads(Path(sys.argv[1]).read_text()), unused)))
