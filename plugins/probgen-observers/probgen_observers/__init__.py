"""Observers that write the fits of probgen to TensorBoard and to MLflow."""

from probgen_observers.mlflow import MLflow
from probgen_observers.tensorboard import TensorBoard

__all__ = ["MLflow", "TensorBoard"]
