-- The "once" promise for everything but sends: what a client's request came to.
--
-- result is the JSON text of what the work gave; it is null only within the transaction that does the work.
CREATE TABLE t_client_requests (
  uid           text COLLATE "C" NOT NULL,
  client_id     text COLLATE "C" NOT NULL,
  request_id    text COLLATE "C" NOT NULL,
  command       text COLLATE "C" NOT NULL,
  result        text,
  created_at_ms bigint NOT NULL,
  PRIMARY KEY (uid, client_id, request_id)
);
CREATE INDEX t_client_requests_created ON t_client_requests (created_at_ms);

-- How far a walk that deletes what is old has come: the first message id it has not looked at.
CREATE TABLE t_pruning (
  name       text PRIMARY KEY,
  message_id bigint NOT NULL
);
-- Begins at the oldest message: one look into each month, or the present where there is none.
INSERT INTO t_pruning
SELECT 'client_messages', coalesce(min(oldest.message_id),
  ((extract(epoch FROM now()) * 1000)::bigint - 1514736000000) << 21)
FROM generate_series(0, 35) AS month (shard)
CROSS JOIN LATERAL (
  SELECT message_id FROM t_messages WHERE t_messages.shard = month.shard ORDER BY message_id LIMIT 1
) oldest;
