-- The champion's newest score of every client. Grain: client. Owner: analysts.
-- Its name sorts after champion_scores, on which it stands.
CREATE OR REPLACE VIEW latest_scores AS
SELECT *
FROM champion_scores
QUALIFY row_number() OVER (PARTITION BY client_id ORDER BY month DESC) = 1;
