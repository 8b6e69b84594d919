//! Names, places and terms of trades that hold other words' letters, and sentences with them: the town that filters once cut off the net.
//! Collected by hand from maps, cook books, bird books and clinics, and the rules were mended against it: it says what must not get worse, not how
//! the policy does on names that nobody has looked at. What other packages' own tests hold is measured apart (`scrim-bench evasion`).

use profanity_context::config::Config;
use profanity_context::judge::{Judge, Said};

const PLACES: &str = "Scunthorpe|Penistone|Clitheroe|Lightwater|Cockermouth|Cockfosters|Cockington|Cockpole Green|Cocking|Hancock|Woodcock Hill|\
    Sussex|Essex|Middlesex|Wessex|Uxbridge Sussex Road|Assington|Bassingbourn|Massachusetts|Assam|Assisi|Nantucket|\
    Dickinson|Dickson|Dickens Close|Titchfield|Titusville|Tittensor|Tittmoning|Twatt|Cumbria|Cumbernauld|Cumberland|Cummings|Cumnor|Horncastle|\
    Hornsea|Hornchurch|Pennsylvania|Penicuik|Pissarro Way|Pismo Beach|Arsenal|Arsenault|Analomink|Manassas|Passaic|Hassocks|Grassington|\
    Bassenthwaite|Buttermere|Buttonwillow|Butte|Niger|Nigeria|Montenegro|Rio Negro|Rapallo|Rapperswil|Grapevine|Drapers Hall|\
    Thornhill|Whorlton|Shoreditch|Shipley|Shiplake|Fukuoka|Fukushima|Fukui|Fuchu|Matsushita|Kyushu|Nishitokyo|Yoshitaka|Mishima|Hakushi|\
    Phuket|Phu Quoc|Cantabria|Kentucky|Kuntsevo|Kuna|Sluis|Retalhuleu|Bagshot|Fagersta|Dagenham|\
    Dyke Road|Offa's Dyke|Devil's Dyke|Gaylord|Gaydon|Homosassa|Lesbos|Bitche|Bitchfield|Batchworth|Hoe Street|Plymouth Hoe|Sexten|\
    Effin|Condom|Intercourse|Blue Ball|Bird-in-Hand|Wetwang|Muff|Nobber|Ballsbridge|Upperthong|Netherthong|\
    Shag Rock|Pratt's Bottom|Six Mile Bottom|Broadbottom|Ramsbottom|Sandy Balls|Hoare Cross|Spital|Spitalfields|Wankdorf|Assen|\
    Assenede|Vaasa|Hassel|Cassel|Kassel|Bassano|Passau|Nassau|Amassalik|Massawa|Lhasa|Mombasa|Cuckfield|Tuckahoe|Tuckerton|Duckworth|Huckleberry|\
    Wank Mountain|Fucking Hill Farm|Sexmoan|Titty Hill";

const PEOPLE: &str = "Dick Van Dyke|Dick Cheney|Dick Turpin|Philip K. Dick|Andy Dick|Moby Dick|Charles Dickens|Emily Dickinson|Angie Dickinson|\
    Herbie Hancock|John Hancock|Matt Hancock|Alfred Hitchcock|Jarvis Cocker|Joe Cocker|Robin Cook|Peter Cook|Cockburn|Alistair Cooke|Hitchcock|\
    Babcock|Peacock|Glasscock|Adcock|Wilcock|Woodcock|Laycock|Alcock|Simcock|Badcock|Johnson|Weiner|Wiener|Fuchs|Klaus Fuchs|Kuntz|Shitara|\
    Yoshitomo|Takeshita|Kinoshita|Matsushita|Morishita|Miyashita|Ashita|Harshita|Nishita|Ishita|Rashid|Shih Tzu|Ho Chi Minh|Don Ho|Coolio|\
    Coon Hunter|Isaac Asimov|Assad|Cassandra|Cassius|Picasso|Masson|Basset|Bassett|Hasselhoff|Vassar|Assante|Sally Gap|Titus|Titian|Tito|\
    Titmuss|Letitia|Laetitia|Lucretia|Nigel|Nigella|Niggli|Pusey|Pussycat Dolls|Puss in Boots|Octopussy|Peniston|Penney|Semenov|\
    Semenya|Gaye|Marvin Gaye|Gaynor|Gay Talese|Enola Gay|Tyson Gay|Rapaport|Raper|Therapist|Grapes|Drapeau|Analise|Annalise|Anal\u{ed}|Canalis|\
    Cummins|Cumming|Alan Cumming|E. E. Cummings|Cumberbatch|Benedict Cumberbatch|Dominic Cummings|Hore|Hoare|Horne|Whorf|Benjamin Whorf|\
    Shakespeare|Spicer|Spick|Retardo Montalban|Sluter|Claus Sluter|Prickett|Bastian|Sebastian|Bastable|Bollock|Wankel|Felix Wankel|Hooker|\
    John Lee Hooker|Bell Hooks|Beaver|Bush|George Bush|Kate Bush|Johannes Brahms|Swallow|Kock|Koch|Robert Koch|Fokker|Anthony Fokker|Fock|Hui|\
    Nguyen Phuc|Phuc|Kum|Dong|Wang|Long|Dung|Butkus|Butts|Butterworth|Buttigieg|Crapper|Thomas Crapper|Lipshitz|Lipschitz|Dikshit|Dixit|Schmidt";

const TERMS: &str = "assassin|assassinate|assess|assessment|asset|assets|assign|assignment|assist|assistant|associate|association|assume|\
    assumption|assurance|bass|bassoon|brass|carcass|cassette|class|classic|compass|embarrass|embassy|glass|grass|harass|hassle|lass|mass|\
    massage|massive|molasses|morass|pass|passage|passenger|passion|passive|passport|potassium|sassafras|surpass|trespass|vassal|wassail|\
    button|buttons|butter|butterfly|buttercup|buttress|rebuttal|attribute|contribute|distribute|halibut|tribute|cockatoo|cockatiel|cockroach|\
    cocktail|cockpit|cockerel|cockle|peacock|poppycock|shuttlecock|stopcock|weathercock|woodcock|hancock|cockade|circumstance|accumulate|\
    circumference|cucumber|document|cumin|cumulative|cumulus|encumber|incumbent|succumb|vacuum|dickcissel|medick|ridicule|\
    dictionary|predict|medical|addict|edict|indict|verdict|title|titan|titanium|entity|identity|quantity|constitution|institution|prostitute's|\
    substitute|competition|petition|partition|repetition|titmouse|titbit|titration|titillate|stitch|stitches|latitude|altitude|attitude|gratitude|\
    analysis|analyst|analog|analogy|canal|banal|penal|tribunal|artisanal|arsenic|arson|arsenal|parse|sparse|coarse|hoarse|hearse|rehearse|\
    shiitake|shitake mushrooms|mishit|shittah|shittim|scrap|scrape|skyscraper|crape|drape|grape|grapefruit|drapery|trapeze|\
    therapist|therapeutic|rapeseed|rapids|rapper|rapture|nigh|night|knight|snigger|niggard|niggle|denigrate|enigma|vinegar|swastika|pussycat|\
    pussyfoot|pussy willow|octopus|hippopotamus|opossum|sextant|sextet|sextuplet|sussex|essex|unisex|sexton|asexual|homosapiens|homogeneous|\
    homonym|homogenise|whomever|shore|whortleberry|horehound|chore|choreography|anchor|abhor|author|slither|sluice|slum|slug|fagot of herbs|\
    faggots and peas|fag end of the day|fagged out|bagging|coonhound|raccoon|cocoon|tycoon|racoon|cocooned|spick and span|spice|auspicious|\
    conspicuous|despicable|suspicion|spicy|chink in the armour|chinking glasses|gobbledygook|cracker barrel|firecracker|nutcracker|\
    kite|dagoba|vandyke|klondike|pickaxe|prickle|prickly pear|pin prick|bastardise|bastion|swank|wankel engine|\
    retardant|fire retardant|retardation|retard the spark|bitumen|ambitious|\
    hellebore|shell|hello|othello|seashell|hellenic|damsel|crapulent|scrapbook|craps table|piston|epistle|pistachio|whipstitch|\
    fuchsia|fucus|fucoidan|huckster|puck|rucksack|tuck|buckle|suckle|honeysuckle|succulent|muck|duck|luck|pluck|truck|stuck|knuckle|chuckle|\
    basement|cassowary|casserole|tassel|pass the salt|glass of water|a class act|bypass surgery|mass spectrometry|breast cancer|breast feeding|\
    chicken breast|cock-a-leekie|coq au vin|spotted dick|cock of the walk|tit for tat|great tit|blue tit|coal tit|marsh tit|bearded tit|\
    blue-footed booby|booby trap|booby prize|hoe the garden|garden hoe|back hoe|horny toad|horned owl|pussy riot|dick and jane|\
    scrotum exam|anal fissure|penis anatomy|vaginal swab|rectal exam|testicular cancer|prostate exam|semen analysis|vulvar biopsy|erectile function";

const FRAMES: [&str; 2] = ["{}", "we read about {} at school on monday"];

#[test]
fn what_only_looks_bad_is_left_alone() {
    let judge = Judge::new(Config::default());
    let (mut all, mut wrong) = (0, Vec::new());
    for item in [PLACES, PEOPLE, TERMS].iter().flat_map(|list| list.split('|')).map(str::trim) {
        for frame in FRAMES {
            let text = frame.replace("{}", item);
            let words: Vec<&str> = text.split_whitespace().collect();
            all += 1;
            let found = judge.judge(Said { words: &words, ..Said::default() });
            if !found.is_empty() {
                wrong.push(format!("{text}: {}", found[0].reason));
            }
        }
    }
    println!("{all} texts, {} wrong", wrong.len());
    assert!(all >= 400 && wrong.len() * 50 <= all, "{} of {all} wrong:\n{}", wrong.len(), wrong.join("\n"));
}
