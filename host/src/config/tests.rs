use proptest::prelude::*;

use super::*;

fn faults(text: &str) -> Vec<String> {
    Config::parse(text).expect_err("a faulty configuration").iter().map(Fault::to_string).collect()
}

#[test]
fn an_empty_file_is_the_default() {
    let config = Config::parse("").expect("defaults");
    assert_eq!(config, Config::default());
    assert_eq!(config.room.delay_ms, Millis(400));
    assert_eq!(config.room.fail_mode, FailMode::Closed);
    assert_eq!(config.room.skip_max_ms, Millis(0));
    assert_eq!(config.detectors[&DetectorName::nudity()].model, "nudenet-320n");
}

#[test]
fn every_key_is_read() {
    let text = r##"
        data_dir = "/srv/scrim"
        [room]
        fail_mode = "open"
        delay_ms = 900
        hold_ms = 1000.0
        skip_max_ms = 50
        look_max_ms = 300
        sampler = "fixed:5"
        [cover]
        style = "blur"
        color = "#20a0FF"
        [detectors.nudity]
        model = "opennsfw"
        look_budget_ms = 80
        threshold = 0.5
        cover = ["NSFW"]
        [policy.cascade]
        plugin = "skin-cascade@2.0.0-rc.1"
        config = { hysteresis = 0.5, on = true }
        [plugins]
        cpu_ms = 5
        memory_mib = 16
        faults_max = 2
        fault_window_s = 30
        [provider]
        choice = "cpu"
        threads = 3
        [limits]
        delay_line_mib = 100
        megapixels_per_second = 62
        [livekit]
        url = "wss://livekit.example/"
        ingest_suffix = "~raw~"
        codec = "h264"
        bitrate_kbps = 800
        simulcast = true
    "##;
    let config = Config::parse(text).expect("a good file");
    let detector = &config.detectors[&DetectorName::nudity()];
    let policy = config.policy.cascade.as_ref().expect("a cascade");
    assert_eq!(config.data_dir(), Some("/srv/scrim".into()));
    assert_eq!(config.room.sampler.to_string(), "fixed:5");
    assert_eq!(config.room.hold_ms, Millis(1000));
    assert_eq!(config.cover, Cover { style: CoverStyle::Blur, color: Color { r: 0x20, g: 0xa0, b: 0xff } });
    assert_eq!((config.room.look_max_ms, detector.look_budget_ms, detector.threshold), (Some(Millis(300)), Some(Millis(80)), Some(0.5)));
    assert_eq!((policy.plugin.name.0.as_str(), policy.plugin.version.as_str()), ("skin-cascade", "2.0.0-rc.1"));
    assert_eq!(policy.config["hysteresis"], 0.5);
    assert_eq!(config.provider.threads.map(NonZeroU32::get), Some(3));
    assert_eq!(config.limits.megapixels_per_second.get(), 62);
}

#[test]
fn every_fault_is_reported_at_once() {
    let text = r##"
        colour = "red"
        [room]
        dealy_ms = 300
        delay_ms = 500
        hold_ms = "long"
        fail_mode = "ajar"
        skip_max_ms = -1
        sampler = "fixed:0"
        [cover]
        color = "red"
        [detectors.Nudity]
        model = "x"
        [detectors.nudity]
        threshold = 2
        cover = ["A B", "OK"]
        [detectors.other]
        model = "m"
        look_budget_ms = 450
        [policy.cascade]
        plugin = "skin-cascade"
        [plugins]
        cpu_ms = 0
        memory_mib = inf
    "##;
    let found = faults(text);
    let keys: Vec<&str> = found.iter().map(|line| line.split(": ").next().unwrap_or_default()).collect();
    assert_eq!(
        keys,
        [
            "colour",
            "cover.color",
            "detectors.Nudity",
            "detectors.nudity.cover[0]",
            "detectors.nudity.model",
            "detectors.nudity.threshold",
            "plugins.cpu_ms",
            "plugins.memory_mib",
            "policy.cascade.plugin",
            "room.dealy_ms",
            "room.delay_ms",
            "room.fail_mode",
            "room.hold_ms",
            "room.sampler",
            "room.skip_max_ms",
        ],
        "{found:#?}"
    );
    let of = |key: &str| found.iter().find(|line| line.starts_with(&format!("{key}: "))).cloned().unwrap_or_default();
    assert_eq!(of("room.dealy_ms"), "room.dealy_ms: unknown key; did you mean `delay_ms`?");
    assert!(of("colour").contains("known here: cover, data_dir"), "{}", of("colour"));
    assert!(of("cover.color").contains("give a colour as \"#rrggbb\""), "{}", of("cover.color"));
    assert!(of("room.fail_mode").contains("must be one of \"closed\", \"open\""), "{}", of("room.fail_mode"));
    assert!(of("room.hold_ms").contains("must be a whole number") && of("room.hold_ms").contains("default 800"), "{}", of("room.hold_ms"));
    assert!(of("detectors.nudity.model").contains("is missing"), "{}", of("detectors.nudity.model"));
}

#[test]
fn a_look_that_does_not_fit_names_the_least_delay_that_would_work() {
    // 350 + 60 + 33 = 443.
    let found = faults("[room]\nlook_max_ms = 350");
    assert_eq!(found.len(), 1);
    assert!(found[0].contains("set room.delay_ms to at least 443, or look_max_ms to at most 307"), "{}", found[0]);
    let text = |delay: u32| format!("[room]\ndelay_ms = {delay}\nlook_max_ms = 350");
    assert!(Config::parse(&text(442)).is_err());
    assert!(Config::parse(&text(443)).is_ok());

    let found = faults("[room]\ndelay_ms = 100\n[detectors.a]\nmodel = \"m\"\nlook_budget_ms = 80\n[detectors.b]\nmodel = \"m\"");
    assert!(found[0].starts_with("room.delay_ms: a look of detectors.a (80 ms)") && found[0].contains("at least 146"), "{}", found[0]);
}

#[test]
fn settings_take_a_models_budget_where_none_is_given() {
    let config = Config::default();
    let settings = |budget, frame| config.settings(|_| Millis(budget).micros(), Millis(frame).micros(), Micros::ZERO);
    assert_eq!(settings(60, 33).expect("the default").look_max, Micros::from_millis(307));
    assert_eq!(settings(100, 40).expect("a slower source").look_max, Micros::from_millis(260));
    assert_eq!(settings(350, 40).expect_err("no room for a look"), DelayTooShort { longest: Millis(10), least: Millis(430) });
    let nothing = Config { detectors: BTreeMap::new(), ..Config::default() };
    assert!(nothing.settings(|_| Micros::ZERO, Micros(1), Micros::ZERO).expect("no looks").detectors.is_empty());
}

#[test]
fn a_list_that_is_too_long_is_a_fault_among_the_others() {
    let text = |words: usize| format!("[speech]\nfavour = {:?}\n", vec!["damn"; words]);
    let found = faults(&format!("{}[room]\nhold_ms = -1", text(257)));
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!(
        found[1],
        "speech.favour: has 257 items, of which 256 at most can be used; it means: Words that are listened for, those that matter most first: what is like the \
         first nine is likelier to be heard"
    );
    for words in [0, 1, 256] {
        let config = Config::parse(&text(words)).expect("no more than may be");
        assert_eq!(config.speech.favour.map(|favour| favour.len()), Some(words));
    }
}

#[test]
fn a_relation_with_a_faulty_value_is_not_guessed_at() {
    // With the default delay in its place the look would not fit, but nobody asked for the default delay.
    let found = faults("[room]\ndelay_ms = \"1s\"\nlook_max_ms = 900");
    assert_eq!(found.len(), 1);
    assert!(found[0].starts_with("room.delay_ms: is \"1s\", must be a whole number"), "{}", found[0]);
}

#[test]
fn text_that_is_not_toml_is_placed() {
    let found = faults("[room]\ndelay_ms = = 3\n");
    assert!(found[0].starts_with("line 2, column 12: not TOML: "), "{}", found[0]);
}

#[test]
fn the_defaults_fit_their_own_schema() {
    let toml = toml::to_string(&Config::default()).expect("plain values");
    assert_eq!(Config::parse(&toml).expect("the defaults"), Config::default(), "{toml}");
}

#[test]
fn a_room_is_as_far_behind_as_what_it_has_asked_for_needs() {
    let with = |text: &str| Config::parse(text).expect("it can work");
    assert_eq!(with("").delay(), Millis(400));
    assert_eq!(with("[text]\nread = true").delay(), Millis(1200));
    assert_eq!(with("[text]\nread = true\n[speech]\nlisten = true").delay(), Millis(3000));
    assert_eq!(with("[room]\ndelay_ms = 5000\n[speech]\nlisten = true").delay(), Millis(5000));
    let faults = Config::parse("[text]\nread = true\ndelay_ms = 500").expect_err("a read takes longer");
    assert!(faults.len() == 1 && faults[0].key == "text.budget_ms", "{faults:?}");
}

#[test]
fn the_page_is_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/configuration.md");
    if std::env::var_os("SCRIM_BLESS").is_some_and(|value| !value.is_empty()) {
        std::fs::write(path, markdown()).expect("write docs/configuration.md");
    }
    let page = std::fs::read_to_string(path).expect("docs/configuration.md");
    assert!(page == markdown(), "docs/configuration.md is out of date: SCRIM_BLESS=1 cargo test -p scrim-host --release --lib config");
    // The page's own example has to work.
    let example = page.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("an example");
    Config::parse(example).expect("the example");
}

proptest! {
    /// The schema's pattern and the parser of each kind of text agree, so whatever the schema lets through is read.
    #[test]
    fn patterns_and_parsers_agree(text in "[a-zA-Z0-9#@:.*?_+-]{0,12}|fixed:[0-9]{1,5}|auto|tensorrt|cuda|cpu|[a-z]{1,3}@[0-9.+a-]{3,8}|#[0-9a-g]{6}") {
        fn agree<T: schemars::JsonSchema + std::str::FromStr>(text: &str) -> Result<(), TestCaseError> {
            let schema = schemars::schema_for!(T);
            let valid = jsonschema::is_valid(schema.as_value(), &text.into());
            prop_assert_eq!(valid, text.parse::<T>().is_ok(), "{}", T::schema_name());
            Ok(())
        }
        agree::<Color>(&text)?;
        agree::<DetectorName>(&text)?;
        agree::<LabelGlob>(&text)?;
        agree::<PluginName>(&text)?;
        agree::<PluginVersion>(&text)?;
        agree::<ProviderName>(&text)?;
        agree::<Sampler>(&text)?;
    }

    #[test]
    fn any_delay_either_works_or_names_one_that_does(delay in 67u32..2000, budget in 1u32..1500, look in proptest::option::of(33u32..1500), frame in 8_000u64..200_000) {
        let mut room = Room { delay_ms: Millis(delay), look_max_ms: look.map(Millis), ..Room::default() };
        let (budget, frame) = (Millis(budget).micros(), Micros(frame));
        if let Err(short) = room.look_max(budget, frame) {
            prop_assert!(short.least > room.delay_ms);
            room.delay_ms = Millis(short.least.0 - 1);
            prop_assert!(room.look_max(budget, frame).is_err());
            room.delay_ms = short.least;
        }
        let look_max = room.look_max(budget, frame).expect("a delay that works");
        prop_assert!(look_max + budget + frame <= room.delay_ms.micros());
        prop_assert!(look.is_none_or(|asked| look_max == Millis(asked).micros()));
    }
}
