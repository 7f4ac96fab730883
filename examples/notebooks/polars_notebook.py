"""A notebook on an export, in polars: which agents spend the tokens, which tools are slow, where actions were refused.

Editors that know `# %%` run it cell by cell; as a program:

    agent-audit export --since 30d -o trail
    python examples/notebooks/polars_notebook.py trail     # --json for programs
"""

import json
import sys
from pathlib import Path

import polars as pl

directory = Path(sys.argv[1] if len(sys.argv) > 1 else "trail")
results = {}

# %% The export as one lazy frame. The folders give `day`; the agent's name is the column agent_id.
events = pl.scan_parquet(
    directory / "events", hive_partitioning=True, hive_schema={"day": pl.Date, "agent": pl.String}
)
# The trail records itself too; `agent-audit sessions` leaves that out.
agent_events = events.filter(~pl.col("session_id").str.starts_with("trail:"))

# %% Is it whole? The manifest says how many events there are.
rows = json.loads((directory / "manifest.json").read_text())["tables"]["events"]["rows"]
counted = events.select(pl.len()).collect().item()
if counted != rows:
    raise SystemExit(f"{directory} has {counted} events, its manifest says {rows}: export again")


# %% Tokens by agent and day. Tokens that were not recorded are null, which differs from 0.
def total(column):
    recorded = pl.col(column).is_not_null().any()
    return pl.when(recorded).then(pl.col(column).sum()).cast(pl.Float64).alias(column)


results["tokens"] = (
    agent_events.group_by("agent_id", "day")
    .agg(total("input_tokens"), total("output_tokens"))
    .sort("agent_id", "day")
    .with_columns(pl.col("day").cast(pl.String))
    .collect()
)

# %% The slowest tools.
results["tools"] = (
    agent_events.filter((pl.col("event_type") == "tool_result") & pl.col("execution_time_ms").is_not_null())
    .group_by("tool_name")
    .agg(pl.len().alias("calls"), pl.col("execution_time_ms").quantile(0.95, "linear").round(3).alias("p95_ms"))
    .sort(["p95_ms", "tool_name"], descending=[True, False])
    .head(10)
    .collect()
)

# %% Sessions in which an action was evaluated and not taken.
results["refused"] = (
    agent_events.filter(pl.col("outcome").is_in(["denied", "blocked"]))
    .group_by("session_id")
    .agg(
        pl.col("agent_id").first(),
        pl.len().alias("refused"),
        pl.col("tool_name").drop_nulls().unique().sort().alias("tools"),
    )
    .sort(["refused", "session_id"], descending=[True, False])
    .collect()
)

# %% The sessions, as `agent-audit sessions --json` counts them.
ends = pl.col("event_type").is_in(["session_end", "session_timeout"])
error = pl.col("error").is_not_null() | ((pl.col("outcome").fill_null("") == "error") & ~ends)
results["sessions"] = (
    agent_events.group_by("session_id")
    .agg(
        pl.len().alias("events"),
        (pl.col("event_type") == "llm_call").sum().alias("llm_calls"),
        (pl.col("event_type") == "tool_call").sum().alias("tool_calls"),
        error.sum().alias("errors"),
    )
    .sort("session_id")
    .collect()
)

# %% Print. Recorded text is not printed as it is: it may hold what a terminal obeys.
if "--json" in sys.argv:
    print(json.dumps({name: frame.to_dicts() for name, frame in results.items()}))
else:
    for name, frame in results.items():
        print(f"{name} ({frame.height})")
        for row in frame.head(10).to_dicts():
            print("  " + json.dumps(row))
