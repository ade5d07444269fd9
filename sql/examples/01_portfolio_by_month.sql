-- How is the portfolio doing, month by month?
SELECT
    month,
    clients,
    round(exposure / 1e6, 1) AS exposure_millions,
    round(mean_pd, 4) AS mean_pd,
    round(default_rate, 4) AS default_rate
FROM portfolio_by_month
