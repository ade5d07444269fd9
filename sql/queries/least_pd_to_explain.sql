-- From which PD on clients are explained: 0 where there are at most `up_to`, else the PD that the riskiest
-- `share` reaches, or more than any PD where that is nobody. Grain: one row. Owner: tasks/score.py.
SELECT
    CASE
        WHEN count(*) <= $up_to THEN 0.0
        WHEN $share = 0 THEN 2.0
        ELSE quantile_disc(pd, 1.0 - $share)
    END AS least_pd
FROM read_parquet($path)
WHERE is_champion
