-- The spine: people, logins, nodes, and the message tables.
--
-- Ids are COLLATE "C" so that nothing depends on the server's locale. No foreign key crosses the distribution
-- column, no trigger and no sequence stands on a hot table: the same schema runs on Citus.

CREATE TABLE t_user (
  uid           text COLLATE "C" PRIMARY KEY,
  name          text COLLATE "C" NOT NULL,
  display_name  text NOT NULL DEFAULT '',
  portrait      text NOT NULL DEFAULT '',
  gender        int NOT NULL DEFAULT 0,
  mobile        text COLLATE "C",
  email         text NOT NULL DEFAULT '',
  address       text NOT NULL DEFAULT '',
  company       text NOT NULL DEFAULT '',
  social        text NOT NULL DEFAULT '',
  extra         text NOT NULL DEFAULT '',
  type          int NOT NULL DEFAULT 0,
  created_at_ms bigint NOT NULL,
  updated_at_ms bigint NOT NULL,
  deleted       boolean NOT NULL DEFAULT false
);
CREATE UNIQUE INDEX t_user_name ON t_user (name);
CREATE UNIQUE INDEX t_user_mobile ON t_user (mobile) WHERE mobile IS NOT NULL;

-- Login sessions: the truth for tokens and devices. Only hashes of the secrets are kept.
CREATE TABLE t_user_session (
  id                text COLLATE "C" PRIMARY KEY,
  uid               text COLLATE "C" NOT NULL,
  client_id         text COLLATE "C" NOT NULL,
  platform          int NOT NULL DEFAULT 0,
  device_name       text NOT NULL DEFAULT '',
  im_token_hash     bytea NOT NULL,
  app_token_hash    bytea NOT NULL,
  created_at_ms     bigint NOT NULL,
  last_active_at_ms bigint NOT NULL,
  ip                text NOT NULL DEFAULT '',
  user_agent        text NOT NULL DEFAULT '',
  revoked_at_ms     bigint,
  revoked_reason    text
);
-- One live login per installation, whoever's it is.
CREATE UNIQUE INDEX t_user_session_client ON t_user_session (client_id) WHERE revoked_at_ms IS NULL;
CREATE INDEX t_user_session_uid ON t_user_session (uid) WHERE revoked_at_ms IS NULL;

-- Node numbers, leased: two nodes can never mint the same message id.
CREATE TABLE t_node (
  number     int PRIMARY KEY CHECK (number BETWEEN 0 AND 63),
  epoch      text NOT NULL,
  address    text NOT NULL,
  load       int NOT NULL DEFAULT 0,
  expires_at timestamptz NOT NULL
);

-- One row per timeline. Its row lock orders the timeline; room is left in the page so that updates stay HOT.
-- folded_seq: t_user_conversation holds everything up to here (store/conversations.ts).
CREATE TABLE t_user_timeline (
  uid             text COLLATE "C" PRIMARY KEY,
  head            bigint NOT NULL DEFAULT 0,
  last_message_id bigint NOT NULL DEFAULT 0,
  epoch           text NOT NULL,
  floor           bigint NOT NULL DEFAULT 0,
  folded_seq      bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50);

-- The "once" promise: what a sender's clientMessageId became.
CREATE TABLE t_client_messages (
  sender            text COLLATE "C" NOT NULL,
  client_message_id text COLLATE "C" NOT NULL,
  message_id        bigint NOT NULL,
  seq               bigint NOT NULL,
  PRIMARY KEY (sender, client_message_id)
);

-- Bodies: one row per message however many receive it. Shard = (year mod 3) * 12 + month - 1 of the id's time, UTC.
-- A single conversation stands under the two ids in byte order, joined by '|'.
CREATE TABLE t_messages (
  shard             smallint NOT NULL,
  message_id        bigint NOT NULL,
  sender            text COLLATE "C" NOT NULL,
  type              smallint NOT NULL,
  target            text COLLATE "C" NOT NULL,
  line              int NOT NULL,
  content_type      int NOT NULL,
  client_message_id text COLLATE "C" NOT NULL,
  content           text NOT NULL,
  recipients        text[],
  edited_at_ms      bigint NOT NULL DEFAULT 0,
  expires_at_ms     bigint NOT NULL DEFAULT 0,
  PRIMARY KEY (shard, message_id)
) PARTITION BY LIST (shard);

-- A user's timeline. target is the conversation as this user sees it. kind: 0 new. mention: 0 no, 1 me, 2 everybody.
CREATE TABLE t_user_messages (
  uid        text COLLATE "C" NOT NULL,
  seq        bigint NOT NULL,
  message_id bigint NOT NULL,
  line       int NOT NULL,
  shard      smallint NOT NULL,
  type       smallint NOT NULL,
  kind       smallint NOT NULL,
  mention    smallint NOT NULL,
  counted    boolean NOT NULL,
  target     text COLLATE "C" NOT NULL,
  PRIMARY KEY (uid, seq)
) PARTITION BY HASH (uid);

DO $$
BEGIN
  FOR i IN 0..35 LOOP
    EXECUTE format('CREATE TABLE t_messages_%s PARTITION OF t_messages FOR VALUES IN (%s)', i, i);
  END LOOP;
  FOR i IN 0..({{message_shards}} - 1) LOOP
    EXECUTE format('CREATE TABLE t_user_messages_%s PARTITION OF t_user_messages FOR VALUES WITH (MODULUS {{message_shards}}, REMAINDER %s)', i, i);
  END LOOP;
END
$$;

-- History of one conversation, newest first, month by month.
CREATE INDEX t_messages_conversation ON t_messages (target, type, line, message_id);
-- Unread is counted here and nowhere else.
CREATE INDEX t_user_messages_unread ON t_user_messages (uid, type, target, line, message_id) INCLUDE (mention) WHERE counted;

-- The conversation list: a fold of the timeline up to folded_seq, plus the user's own marks.
CREATE TABLE t_user_conversation (
  uid             text COLLATE "C" NOT NULL,
  type            smallint NOT NULL,
  target          text COLLATE "C" NOT NULL,
  line            int NOT NULL,
  last_message_id bigint NOT NULL DEFAULT 0,
  last_shard      smallint NOT NULL DEFAULT 0,
  read_message_id bigint NOT NULL DEFAULT 0,
  updated_at_ms   bigint NOT NULL DEFAULT 0,
  PRIMARY KEY (uid, type, target, line)
);
