-- Which way do clients move between grades in the newest month?
SELECT
    grade_before,
    sum(clients) FILTER (WHERE grade_now < grade_before)::BIGINT AS better,
    sum(clients) FILTER (WHERE grade_now = grade_before)::BIGINT AS same,
    sum(clients) FILTER (WHERE grade_now > grade_before)::BIGINT AS worse
FROM grade_migration
WHERE month = (SELECT max(month) FROM grade_migration)
GROUP BY grade_before
ORDER BY grade_before
