-- Clients by grade in one month and in the next; clients who joined or left are not in it.
-- Grain: month, grade before and grade now. Owner: analysts.
CREATE OR REPLACE VIEW grade_migration AS
SELECT
    n.month,
    b.grade AS grade_before,
    n.grade AS grade_now,
    count(*) AS clients
FROM champion_scores AS n
INNER JOIN champion_scores AS b
    ON
        n.client_id = b.client_id
        AND strftime(strptime(n.month || '-01', '%Y-%m-%d') - INTERVAL 1 MONTH, '%Y-%m') = b.month
GROUP BY n.month, b.grade, n.grade
ORDER BY n.month, b.grade, n.grade;
