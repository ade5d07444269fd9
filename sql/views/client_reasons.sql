-- What raised a client's score most, in words, strongest first, and beside it what is most unusual about the
-- client, most unusual first. Grain: month, client and rank. Owner: analysts.
CREATE OR REPLACE VIEW client_reasons AS
WITH ranked AS (
    SELECT
        month,
        client_id,
        model,
        version,
        unnest([
            {
                'rank': 1,
                'code': reason_1,
                'contribution': contribution_1,
                'unusual': unusual_1,
                'deformation': deformation_1
            },
            {
                'rank': 2,
                'code': reason_2,
                'contribution': contribution_2,
                'unusual': unusual_2,
                'deformation': deformation_2
            },
            {
                'rank': 3,
                'code': reason_3,
                'contribution': contribution_3,
                'unusual': unusual_3,
                'deformation': deformation_3
            },
            { 'rank': 4, 'code': reason_4, 'contribution': contribution_4, 'unusual': NULL, 'deformation': NULL }
        ], recursive := TRUE)
    FROM reasons
)

SELECT
    r.month,
    r.client_id,
    r.model,
    r.version,
    r.rank,
    r.code,
    t.reason,
    t.meaning,
    r.contribution,
    r.unusual,
    r.deformation
FROM ranked AS r
LEFT JOIN reason_texts AS t ON r.code = t.code
WHERE r.code IS NOT NULL OR r.unusual IS NOT NULL;
