//! Words: a broadcaster's over LiveKit, a viewer's and a program's over HTTP; the room's text policy reads each first.

use std::collections::HashMap;

use scrim_tests::served::Answer;

use super::*;

#[test]
fn what_a_broadcaster_writes_is_judged_and_answered() -> Result<()> {
    with_a_host(|server, host, library| async move {
        let _until_the_end = server;
        let mut viewer = join(library, &token(&host, "Vera", "viewer")?, VIEWER).await?;
        let mut broadcaster = join(library, &token(&host, "Bob", "broadcaster")?, PUBLISHER).await?;
        let mirror =
            until(&mut viewer, "the mirror", |event| if let Event::Joined { identity, .. } = event { Some(identity) } else { None })
                .await?;
        say(&broadcaster, "good evening to all of you").await?;
        let heard = until(&mut viewer, "the message", text_of).await?;
        ensure!(heard == (mirror.clone(), "good evening to all of you".to_owned()), "{heard:?}");
        let told = until(&mut broadcaster, "what became of it", text_of).await?.1;
        ensure!(told.contains("\"passed\""), "{told}");

        say(&broadcaster, "you are a fucking idiot").await?;
        let (_, heard) = until(&mut viewer, "the masked message", text_of).await?;
        ensure!(heard.contains('*') && !heard.contains("fucking") && heard.starts_with("you are"), "{heard}");
        let told = until(&mut broadcaster, "what became of it", text_of).await?.1;
        ensure!(told.contains("\"masked\""), "{told}");

        host.json("PATCH", "/v1/rooms/studio", &json!({ "chat": "refuse" }))?.expect(200)?;
        say(&broadcaster, "you are a fucking idiot").await?;
        let told = until(&mut broadcaster, "what became of it", text_of).await?.1;
        ensure!(told.contains("\"refused\""), "{told}");
        say(&broadcaster, "sorry").await?;
        let (_, heard) = until(&mut viewer, "the next message", text_of).await?;
        ensure!(heard == "sorry", "what was refused reached the viewer: {heard}");
        drop(broadcaster);
        host.terminate(Duration::from_secs(20))
    })
}

#[test]
fn viewers_see_the_attributes_that_they_may_see_as_the_policy_passes_them() -> Result<()> {
    with_a_host(|server, host, library| async move {
        let _until_the_end = server;
        let ask = |role: &str, attributes: Value| {
            let asked = json!({ "name": "Bob", "role": role, "attributes": attributes });
            host.json("POST", "/v1/rooms/studio/tokens", &asked)
        };
        for (role, attributes, part) in [
            ("broadcaster", json!({ "size": "large" }), "\"size\""),
            ("broadcaster", json!({ "scrim.seal": "00" }), "\"scrim.seal\""),
            ("broadcaster", json!({ "color": "x".repeat(257) }), "257 characters"),
            ("viewer", json!({ "color": "red" }), "only a broadcaster"),
        ] {
            let refused = ask(role, attributes)?.expect(422)?;
            ensure!(refused["detail"].as_str().is_some_and(|detail| detail.contains(part)), "{refused}");
        }
        let bob = ask("broadcaster", json!({ "color": "red", "mood": "what a fucking day" }))?.expect(201)?;
        let mut viewer = join(library, &token(&host, "Vera", "viewer")?, VIEWER).await?;
        let broadcaster = join(library, &bob, PUBLISHER).await?;
        let seen = until(&mut viewer, "the mirror", |event| match event {
            Event::Joined { attributes, .. } => Some(attributes),
            _ => None,
        })
        .await?;
        ensure!(seen["color"] == "red", "{seen:?}");
        ensure!(seen["mood"].starts_with("what a") && seen["mood"].contains('*') && !seen["mood"].contains("fucking"), "{seen:?}");
        drop(broadcaster);
        host.terminate(Duration::from_secs(20))
    })
}

pub async fn say(broadcaster: &Room, text: &str) -> Result<()> {
    Ok(broadcaster.send_text("lk.chat", text, HashMap::new(), &[], None).await?)
}

pub fn text_of(event: Event) -> Option<(String, String)> {
    match event {
        Event::Text { identity, text, .. } => Some((identity, text)),
        _ => None,
    }
}

/// Says something over HTTP, with whatever stands for a key.
fn post(host: &Served, bearer: Option<&str>, body: &Value) -> Result<Answer> {
    let bearer = bearer.map(|token| format!("Bearer {token}"));
    let headers: Vec<_> =
        bearer.iter().map(|value| ("authorization", value.as_str())).chain([("content-type", "application/json")]).collect();
    host.send("POST", "/v1/rooms/studio/chat", &headers, body.to_string().as_bytes())
}

/// A text of the chat, and who is said to have written it.
fn written(event: Event) -> Option<(String, String)> {
    match event {
        Event::Text { topic, text, attributes, .. } if topic == "lk.chat" => {
            Some((attributes.get("scrim.author").cloned().unwrap_or_default(), text))
        }
        _ => None,
    }
}

#[test]
fn viewers_write_with_their_own_tokens_and_the_policy_reads_it_first() -> Result<()> {
    with_a_host(|server, host, library| async move {
        let _until_the_end = server;
        let (vera, zoe) = (token(&host, "Vera", "viewer")?, token(&host, "Zoe", "viewer")?);
        let text_of = |token: &Value, key: &str| token[key].as_str().map(str::to_owned).with_context(|| format!("{key} in {token}"));
        let mut reader = join(library, &vera, VIEWER).await?;
        let writer = join(library, &zoe, VIEWER).await?;
        let (hers, me) = (text_of(&zoe, "token")?, text_of(&zoe, "identity")?);
        // Until the host has seen that she is there.
        let hello = json!({ "text": "good evening to all of you" });
        let mut first = Value::Null;
        eventually(|| {
            let answer = post(&host, Some(&hers), &hello)?;
            ensure!([200, 409].contains(&answer.status), "{answer:?}");
            let there = answer.status == 200;
            first = if there { answer.json()? } else { Value::Null };
            Ok(there)
        })
        .await?;
        ensure!(first["outcome"] == "passed" && first["shown"] == hello["text"], "{first}");
        let (author, text) = until(&mut reader, "the message", written).await?;
        ensure!((&*author, &*text) == ("Zoe", "good evening to all of you"), "{author}: {text}");

        let rude = post(&host, Some(&hers), &json!({ "text": "you are a fucking idiot" }))?.expect(200)?;
        ensure!(rude["outcome"] == "masked", "{rude}");
        let (_, text) = until(&mut reader, "the masked message", written).await?;
        ensure!(Some(text.as_str()) == rude["shown"].as_str() && text.contains('*') && !text.contains("fucking"), "{text}");

        // A program with a key says who writes; the name is judged as any other.
        let answer = post(&host, None, &json!({ "text": "the doors are open", "author": "Front desk" }))?.expect(200)?;
        ensure!(answer["outcome"] == "passed", "{answer}");
        let (author, text) = until(&mut reader, "the program's message", written).await?;
        ensure!((&*author, &*text) == ("Front desk", "the doors are open"), "{author}: {text}");
        for (body, status) in [
            (json!({ "text": "who?" }), 422),
            (json!({ "text": "hm", "author": "you fucking idiot" }), 422),
            (json!({ "text": "hm", "author": "turned \u{202e}around" }), 422),
            (json!({ "text": "x".repeat(4097), "author": "Ann" }), 422),
            (json!({ "text": "  ", "author": "Ann" }), 422),
        ] {
            ensure!(post(&host, None, &body)?.status == status, "{body}");
        }

        // Nobody else: no other room's token, no broadcaster's for its own room, none that is no token, none that speaks for another.
        host.json("POST", "/v1/rooms", &json!({ "name": "attic" }))?.expect(201)?;
        let elsewhere = host.json("POST", "/v1/rooms/attic/tokens", &json!({ "name": "Eve", "role": "viewer" }))?.expect(201)?;
        let bob = token(&host, "Bob", "broadcaster")?;
        for (bearer, body, status) in [
            (text_of(&elsewhere, "token")?, json!({ "text": "hi" }), 403),
            (text_of(&bob, "token")?, json!({ "text": "hi" }), 403),
            (format!("{}x", &hers[..hers.len() - 4]), json!({ "text": "hi" }), 401),
            (hers.clone(), json!({ "text": "hi", "author": "Vera" }), 422),
        ] {
            let answer = post(&host, Some(&bearer), &body)?;
            ensure!(answer.status == status, "{status}: {answer:?}");
        }
        // A broadcaster's second token is a viewer's.
        ensure!(post(&host, Some(&text_of(&bob, "view_token")?), &json!({ "text": "nice to be here" }))?.status == 200);
        ensure!(until(&mut reader, "the broadcaster's message", written).await?.0 == "Bob");

        // Who writes too fast is told so, and nobody else is.
        let flood = (0..12).map(|_| post(&host, Some(&hers), &json!({ "text": "again" }))).collect::<Result<Vec<_>>>()?;
        let hasty = flood.iter().find(|answer| answer.status == 429).context("nobody was told to slow down")?;
        ensure!(hasty.header("retry-after").is_some(), "{hasty:?}");
        ensure!(post(&host, None, &json!({ "text": "calm down", "author": "Front desk" }))?.status == 200);

        // A room may refuse instead of masking.
        host.json("PATCH", "/v1/rooms/studio", &json!({ "chat": "refuse" }))?.expect(200)?;
        let refused = post(&host, None, &json!({ "text": "you are a fucking idiot", "author": "Ann" }))?.expect(200)?;
        ensure!(refused["outcome"] == "refused" && refused["shown"].is_null(), "{refused}");

        // Who has left writes no more, though its token holds.
        writer.leave().await?;
        println!("{me} has left");
        eventually(|| Ok(post(&host, Some(&hers), &json!({ "text": "still here" }))?.status == 409)).await?;
        host.terminate(Duration::from_secs(20))
    })
}
