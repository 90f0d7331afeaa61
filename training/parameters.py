"""What is fitted: the booster's parameters, under XGBoost's own names and meanings."""

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from models_registry.frozen import Frozen
from models_registry.scoring import Number, Whole

# keys of ours, which XGBoost does not know
_OURS = ("n_estimators", "class_weights", "monotone_constraints", "early_stopping_rounds", "validation_fraction")
_OF_DART = ("rate_drop", "skip_drop")
_OF_TREES = ("max_depth", "min_child_weight", "subsample", "colsample_bytree", "gamma", "max_bin")


class XGBoostParameters(Frozen):
    """The booster's parameters. The defaults lean to small, cautious trees.

    class_weights: `balanced`, or one weight per class, lowest first. monotone_constraints: feature -> 1 (the prediction
    never falls when it rises) or -1. early_stopping_rounds: trees are added until that many in a row have not helped on
    the last `validation_fraction` of the training bars, which are then not fitted on.
    """

    booster: Literal["gbtree", "gblinear", "dart"] = "gbtree"
    n_estimators: Whole = Field(100, ge=1, le=5000)
    max_depth: Whole = Field(3, ge=1, le=12)
    learning_rate: Number = Field(0.05, gt=0.0, le=1.0)
    min_child_weight: Number = Field(20.0, ge=0.0)
    subsample: Number = Field(0.8, gt=0.0, le=1.0)
    colsample_bytree: Number = Field(1.0, gt=0.0, le=1.0)
    reg_lambda: Number = Field(1.0, ge=0.0)
    reg_alpha: Number = Field(0.0, ge=0.0)
    gamma: Number = Field(0.0, ge=0.0)
    max_bin: Whole = Field(256, ge=2, le=4096)
    rate_drop: Number = Field(0.0, ge=0.0, le=1.0, description="dart only: share of trees left out of a round")
    skip_drop: Number = Field(0.0, ge=0.0, le=1.0, description="dart only: how often no tree is left out")
    scale_pos_weight: Number | None = Field(None, gt=0.0, description="binary only: weight of an up label")
    class_weights: Literal["balanced"] | tuple[Number, ...] | None = None
    monotone_constraints: dict[str, Literal[-1, 1]] = Field(default_factory=dict)
    early_stopping_rounds: Whole | None = Field(None, ge=1, le=500)
    validation_fraction: Number = Field(0.2, ge=0.01, le=0.5, description="of the training bars, for early stopping")

    @model_validator(mode="after")
    def _keys_fit_booster(self) -> Self:
        if self.booster != "dart" and (self.rate_drop or self.skip_drop):
            raise ValueError(f"rate_drop and skip_drop belong to booster dart, not to {self.booster}")
        if self.booster == "gblinear" and self.monotone_constraints:
            raise ValueError("monotone_constraints need trees: gblinear has none")
        if self.booster != "gbtree" and self.early_stopping_rounds:
            raise ValueError(f"early_stopping_rounds needs booster gbtree: {self.booster} cannot be cut back")
        if self.class_weights is not None and self.scale_pos_weight is not None:
            raise ValueError("class_weights and scale_pos_weight weigh the same labels: keep one of them")
        if isinstance(self.class_weights, tuple) and min(self.class_weights, default=0) <= 0:
            raise ValueError("class_weights are positive numbers, one per class")
        return self

    def for_xgboost(self, features: tuple[str, ...]) -> dict[str, Any]:
        """The settings of a fit on these features, in XGBoost's names; the number of rounds is not among them."""
        settings = {name: value for name, value in self.model_dump().items() if name not in _OURS}
        if self.booster == "gblinear":
            # in a fixed order: the other updater's result depends on the threads
            settings |= {"updater": "coord_descent"}
        else:
            settings |= {"tree_method": "hist"}
        foreign = {
            "gbtree": _OF_DART,
            "dart": (),
            "gblinear": (*_OF_DART, *_OF_TREES),
        }[self.booster]
        if self.monotone_constraints:
            signs = [str(self.monotone_constraints.get(name, 0)) for name in features]
            settings["monotone_constraints"] = f"({','.join(signs)})"
        return {name: value for name, value in settings.items() if name not in foreign and value is not None}
