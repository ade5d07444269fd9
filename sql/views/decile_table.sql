-- Gains: clients in tenths by PD, riskiest first, with defaults captured and lift, for months whose outcomes are known.
-- Grain: month and decile. Owner: analysts.
CREATE OR REPLACE VIEW decile_table AS
WITH ranked AS (
    SELECT
        month,
        pd,
        defaulted,
        ntile(10) OVER (PARTITION BY month ORDER BY pd DESC, client_id) AS decile
    FROM champion_scores
    WHERE defaulted IS NOT NULL
),

tenths AS (
    SELECT
        month,
        decile,
        count(*) AS clients,
        sum(defaulted)::BIGINT AS defaults,
        avg(pd) AS mean_pd,
        avg(defaulted) AS default_rate
    FROM ranked
    GROUP BY month, decile
)

SELECT
    *,
    sum(defaults) OVER (PARTITION BY month ORDER BY decile)
    / nullif(sum(defaults) OVER (PARTITION BY month), 0) AS defaults_captured,
    default_rate
    / nullif(sum(defaults) OVER (PARTITION BY month) / sum(clients) OVER (PARTITION BY month), 0) AS lift
FROM tenths
ORDER BY month, decile;
