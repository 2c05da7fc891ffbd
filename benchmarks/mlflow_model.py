"""mlflow's model: a logistic regression and a ridge on as many features as ours, for ``mlflow models serve``.

Run as a script in mlflow's own environment, so it imports nothing of this checkout: ``python mlflow_model.py FOLDER
FEATURES`` saves this file as the model. It has no signature: with one, mlflow would check each request and take longer.
"""

from __future__ import annotations

import sys
from typing import Any

import mlflow  # type: ignore[import-not-found]  # in its own environment
import numpy as np
from sklearn.linear_model import LogisticRegression, Ridge


class TwoHeads(mlflow.pyfunc.PythonModel):  # type: ignore[misc]  # not known here, so no type
    """Both forecasts of each row of a table of features."""

    def load_context(self, context: Any) -> None:
        rng = np.random.default_rng(0)
        values = rng.normal(size=(10_000, context.model_config["features"]))
        self._volatility = Ridge().fit(values, values.sum(axis=1) + rng.normal(size=10_000))
        self._bad_week = LogisticRegression().fit(values, values[:, 0] + rng.normal(size=10_000) > 1)

    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]  # types are a signature
        values = np.asarray(model_input)
        pairs = zip(self._volatility.predict(values), self._bad_week.predict_proba(values)[:, 1], strict=True)
        return [{"volatility": volatility, "bad_week": bad_week} for volatility, bad_week in pairs]


mlflow.models.set_model(TwoHeads())

if __name__ == "__main__":
    mlflow.pyfunc.save_model(sys.argv[1], python_model=__file__, model_config={"features": int(sys.argv[2])})
