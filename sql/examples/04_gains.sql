-- How many of the defaults lie in the riskiest tenths, in the newest month with outcomes?
SELECT
    decile,
    clients,
    defaults,
    round(mean_pd, 4) AS mean_pd,
    round(default_rate, 4) AS default_rate,
    round(defaults_captured, 3) AS captured,
    round(lift, 2) AS lift
FROM decile_table
WHERE month = (SELECT max(month) FROM decile_table)
ORDER BY decile
