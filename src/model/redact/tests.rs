use proptest::prelude::*;

use super::{words::MAX_WORD_LEN, *};

#[test]
fn secrets_are_redacted() {
    for (text, clean) in [
        ("postgres://app:pw@db:5432/x", "postgres://***@db:5432/x"),
        ("no host app:pw@db:5432", "no host ***@db:5432"),
        (
            "app:p@ss@tcp(db:3306)/x git@host:x",
            "***@tcp(db:3306)/x git@host:x",
        ),
        (
            "redis://:p@ss/word@host/0 is down",
            "redis://***@host/0 is down",
        ),
        ("bad postgres://app:hun ter2@db", "bad postgres://***@db"),
        ("bad postgres://app:hun<ter2@db", "bad postgres://***@db"),
        ("redis://***:hunter2@host", "redis://***@host"),
        ("amqp://u:AA>://@host/v", "amqp://***@host/v"),
        ("amqp://u:A@B>://C@host/v", "amqp://***@host/v"),
        ("amqp://u:A>B://C@host/v", "amqp://***@host/v"),
        ("amqp://u:1>B://@host/v", "amqp://***@host/v"),
        (
            "at http://db:80> amqp://u:hunter2@host",
            "at http://db:80> amqp://***@host",
        ),
        (
            "at http://[::1]> amqp://u:hunter2@host",
            "at http://[::1]> amqp://***@host",
        ),
        (
            "at http://db> amqp://u:hunter2@host",
            "at http://db> amqp://***@host",
        ),
        (
            "host=db user=app password=pw dbname=x",
            "host=db user=app password=*** dbname=x",
        ),
        ("Server=db;Pwd=pw;Database=x", "Server=db;Pwd=***"),
        ("Pwd={hun;ter2}", "Pwd=***"),
        ("password=hun,ter2", "password=***"),
        ("password=***hunter2", "password=***"),
        ("password := pw", "password := ***"),
        ("password == pw", "password == ***"),
        ("password\u{a0}=\u{a0}pw", "password\u{a0}=\u{a0}***"),
        ("password: Some(\"hun ter2\"), x", "password: ***"),
        ("password: [104, 117, 110]", "password: ***"),
        (
            r#"{"access_token":"a b\"c","n":1}"#,
            r#"{"access_token":"***","n":1}"#,
        ),
        (
            r#""{\"password\":\"hun ter2\",\"n\":1}""#,
            r#""{\"password\":\"***\",\"n\":1}""#,
        ),
        (r#"password=\"hun ter2\" x"#, r#"password=\"***\" x"#),
        ("GET /x?api_key=abc&y=1 HTTP", "GET /x?api_key=*** HTTP"),
        (
            "secretKey=a AccountKey=b key=c",
            "secretKey=*** AccountKey=*** key=***",
        ),
        (
            "password2=a DB_PASSWORD_PROD=b jwt=c pw=d",
            "password2=*** DB_PASSWORD_PROD=*** jwt=*** pw=***",
        ),
        ("authorization: Bearer abc.def", "authorization: ***"),
        ("authorization: Token abc def", "authorization: ***"),
        (
            "Authorization: Digest u=\"a\", response=\"b\"",
            "Authorization: ***",
        ),
        ("sent Bearer  abc.def to it", "sent Bearer  *** to it"),
        ("sent Bearer: abc", "sent Bearer: ***"),
        ("DB_PASSWORD: 'a b c' end", "DB_PASSWORD: '***' end"),
        ("password = \"never closed", "password = \"***"),
        ("line one\nline two", "line one line two"),
    ] {
        assert_eq!(redact(text), clean, "{text}");
    }
}

/// Forms in which secrets occur in errors.
#[test]
fn secrets_are_recognized_by_their_form() {
    for (text, clean) in [
        // PEM: complete, truncated, and on one line.
        (
            "key is -----BEGIN PRIVATE KEY-----\nMIIE\nvQIB==\n-----END PRIVATE KEY----- ok",
            "key is *** ok",
        ),
        ("-----BEGIN RSA PRIVATE KEY----- MIIE", "***"),
        // JSON web tokens.
        ("got eyJhbGciOi.eyJzdWIi.c2ln-_A here", "got *** here"),
        ("(eyJhbGciOi.eyJzdWIi.)", "(***)"),
        // Cookies.
        ("Cookie: sid=abc; theme=dark", "Cookie: ***"),
        ("set-cookie: sid=abc; HttpOnly", "set-cookie: ***"),
        // Webhooks.
        (
            "POST https://hooks.slack.com/services/T0/B0/abc failed",
            "POST https://hooks.slack.com/*** failed",
        ),
        (
            "https://discord.com/api/webhooks/1/abc",
            "https://discord.com/***",
        ),
        (
            "https://api.telegram.org/bot12:abc/send",
            "https://api.telegram.org/***",
        ),
        // SQL.
        (
            "ALTER ROLE app PASSWORD 'hun ter2' VALID",
            "ALTER ROLE app PASSWORD '***' VALID",
        ),
        (
            "CREATE USER x IDENTIFIED BY 'pw'",
            "CREATE USER x IDENTIFIED BY '***'",
        ),
        (
            "identified by password '*2470'",
            "identified by password '***'",
        ),
        // Commands.
        ("AUTH hunter2", "AUTH ***"),
        ("AUTH default hunter2", "AUTH ***"),
        (
            "mysqldump --password hunter2 x",
            "mysqldump --password *** x",
        ),
        ("--api-key=abc x", "--api-key=*** x"),
        ("curl -u app:hunter2 http://x", "curl -u *** http://x"),
        // Schemes.
        ("sent Token 0123456789abcdef", "sent Token ***"),
        ("sent ApiKey a2V5Ojpz==", "sent ApiKey ***"),
        ("Negotiate YIIabc", "Negotiate ***"),
        ("Basic dXNlcjpwYXNz", "Basic ***"),
        (
            "https://u:p@hooks.slack.com/services/T0/B0/abc x",
            "https://*** x",
        ),
        (
            "https://x.webhook.office.com/webhookb2/a@b/IncomingWebhook/01",
            "https://x.webhook.office.com/***",
        ),
        (
            "IDENTIFIED WITH caching_sha2_password BY 'hunter2' x",
            "IDENTIFIED WITH caching_sha2_password BY '***' x",
        ),
        ("IDENTIFIED BY \"hunter2\"", "IDENTIFIED BY \"***\""),
        ("PASSWORD E'hunter2'", "PASSWORD E'***'"),
        ("PASSWORD 'hun''ter2' x", "PASSWORD '***' x"),
        (
            "SET PASSWORD FOR 'a'@'%' = 'hunter2'",
            "SET PASSWORD FOR 'a'@'%' = '***'",
        ),
        ("Password(hunter2)", "Password(***"),
        ("Token(8472893472)", "Token(***"),
        ("--password \"correct horse\" x", "--password \"***\" x"),
        ("password%3Dhun%24ter2%26b", "password%3D***%26b"),
        ("--proxy-user app:pw", "--proxy-user ***"),
        ("passcode=1234", "passcode=***"),
        // Queries.
        ("GET /cb?code=abc&x=1", "GET /cb?code=***"),
        ("grant&client_assertion=abc", "grant&client_assertion=***"),
        // Percent-encoded.
        ("a%26password%3Dhunter2%26b", "a%26password%3D***%26b"),
        (
            "postgres%3A%2F%2Fapp%3Apw%40db",
            "postgres%3A%2F%2F***%40db",
        ),
        // Rust's Debug.
        ("Password(\"hunter2\")", "Password(***"),
        (
            "Config { password: Secret { inner: \"hunter2\" } }",
            "Config { password: ***",
        ),
        (
            "Credentials { user: \"a\", pass: \"b\" }",
            "Credentials {***",
        ),
        // Passwords that begin with a word of `STATE_WORDS`.
        ("password: wrong-horse-battery", "password: ***"),
        ("password: no!", "password: ***"),
        // Quotes in quotes.
        ("password = '''hunter2'''", "password = '''***'''"),
        (
            "password = \"\"\"hunter2\"\"\" x",
            "password = \"\"\"***\"\"\" x",
        ),
        (
            r#""{""password"":""hunter2"",""n"":1}""#,
            r#""{""password"":""***"",""n"":1}""#,
        ),
        ("password='it''s hunter2' x", "password='***' x"),
        ("password=\"\", user=app", "password=\"\", user=app"),
        // Keys that are values themselves.
        (
            "[(\"DB_PASSWORD\", \"hunter2\"), (\"A\", \"b\")]",
            "[(\"DB_PASSWORD\", \"***\"), (\"A\", \"b\")]",
        ),
        (
            r#"{"name":"DB_PASSWORD","value":"hunter2"}"#,
            r#"{"name":"DB_PASSWORD","value":"***"}"#,
        ),
        (
            "EnvVar { name: \"DB_PASSWORD\", value: Some(\"hunter2\") }",
            "EnvVar { name: \"DB_PASSWORD\", value: ***",
        ),
        (
            "- name: DB_PASSWORD\n  value: hunter2",
            "- name: DB_PASSWORD   value: ***",
        ),
        ("password[]=hunter2&x", "password[]=***"),
        ("passwd[0]=hunter2", "passwd[0]=***"),
        ("password.value=hunter2", "password.value=***"),
        // XML.
        ("<password>hunter2</password>", "<password>***</password>"),
        (
            "<SecretAccessKey>hun ter2</SecretAccessKey>",
            "<SecretAccessKey>***</SecretAccessKey>",
        ),
        (
            "<wsse:Password>hunter2</wsse:Password>",
            "<wsse:Password>***</wsse:Password>",
        ),
        // Encoded twice.
        (
            "%7B%22password%22%3A%22hunter2%22%7D",
            "%7B%22password%22%3A%22***%22%7D",
        ),
        ("x?y=password%253Dhunter2", "x?y=password%253D***"),
        // Other SQL.
        ("IDENTIFIED BY hunter2", "IDENTIFIED BY ***"),
        (
            "IDENTIFIED BY VALUES 'S:hunter2'",
            "IDENTIFIED BY VALUES '***'",
        ),
        ("PASSWORD $$hunter2$$ x", "PASSWORD $$***$$ x"),
        ("PASSWORD U&'hunter2'", "PASSWORD U&'***'"),
        // Settings.
        ("requirepass hunter2", "requirepass ***"),
        ("masterauth hunter2", "masterauth ***"),
        (
            "Password=correct horse battery;Database=x",
            "Password=***;Database=x",
        ),
        // Several words.
        (
            "password: correct horse battery, user: app",
            "password: ***, user: app",
        ),
        (
            "passphrase: correct horse user=app",
            "passphrase: *** user=app",
        ),
    ] {
        assert_eq!(redact(text), clean, "{text}");
        assert_eq!(redact(clean), clean, "again: {clean}");
    }
}

#[test]
fn a_password_beyond_the_examined_length_is_redacted_completely() {
    let long = "x".repeat(2 * MAX_WORD_LEN);
    let text = format!("at postgres://app:{long}@db/x and more");
    assert_eq!(redact(&text), "at postgres://*** and more");
}

/// Twice the text takes about twice the time, whatever is repeated.
#[test]
fn words_are_examined_up_to_the_limit() {
    let long = "a.".repeat(MAX_WORD_LEN * 4);
    assert_eq!(near(&long).len(), MAX_WORD_LEN);
    assert!(near(&"é".repeat(MAX_WORD_LEN)).len() <= MAX_WORD_LEN);
}

#[test]
fn ordinary_text_is_unchanged() {
    for text in [
        "password authentication failed for user",
        "http://127.0.0.1:80/ready refused",
        "token",
        "token expired yesterday",
        "the password(s) of",
        "ERR AUTH <password> called without any password configured",
        "could not negotiate TLS version",
        "a basic check failed",
        "auth: connection refused by 10.0.0.1",
        "password: authentication failed for user app",
        "Access denied (using password: NO)",
        "unexpected token { at line 3",
        "digest sha256:0123456789abcdef",
        "NOAUTH Authentication required",
        "AUTH failed",
        "http status code=500",
        "https://shop.example/orders/1",
        "-u app",
        "user identified by name",
        "a basic",
        "mail to ops@example.com",
        "duplicate key value violates unique constraint",
        "",
    ] {
        assert_eq!(redact(text), text);
    }
}

/// A password as people choose them, with characters that do not occur in the rest of the text.
fn password() -> impl Strategy<Value = String> {
    "[A-Z0-9/:@%!,;&#?$(){}\\[\\]<>é]{6,12}"
}

proptest! {
    #[test]
    fn no_password_survives(
        before in "[a-zé ]{0,12}",
        password in password(),
        after in "( [a-z@ ]{0,12})?",
    ) {
        let url = format!("{before} amqp://u:{password}@host/v{after}");
        let pair = format!("{before} password={password}{after}");
        let json = format!("{before} {{\"secret\": \"{password}\"}}{after}");
        let escaped = format!("{:?}", json);
        for text in [url, pair, json, escaped] {
            let clean = redact(&text);
            prop_assert!(!clean.contains(&password), "{}", clean);
        }
    }

    #[test]
    fn redaction_is_idempotent(text in "\\PC{0,64}") {
        let once = redact(&text);
        prop_assert_eq!(redact(&once), once);
    }

    #[test]
    fn redaction_of_text_about_secrets_is_idempotent(
        text in "(password|key|auth|@|=|:| |\"|\\\\|\\*|x|\\(|bearer ){0,16}",
    ) {
        let once = redact(&text);
        prop_assert_eq!(redact(&once), once);
    }
}
