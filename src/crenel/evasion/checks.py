"""The measurements of risk 1."""

from __future__ import annotations

from crenel.check import Context, Controls, Cost, Measurement, Risk, check
from crenel.evasion import controls
from crenel.evasion.blackbox import controls as query_controls
from crenel.evasion.patches import controls as patch_controls
from crenel.evasion.text import controls as text_controls
from crenel.subject import Subject


@check(
    "EVA-101",
    risk=Risk.EVASION,
    title="Small changes, by gradients",
    question="How small a change to an input turns the decision, for who can compute gradients?",
    needs=("model", "classification", "gradients", "test"),
    cost=Cost(seconds=8.0, queries=80_000, least=0.2),
    references=("AML.T0043.000", "AML.T0015", "NISTAML.022", "ML01:2023", "AIA:15(5)"),
    controls=Controls(weak=controls.narrow_margins, sound=controls.wide_margins),
)
def small_changes(subject: Subject, context: Context) -> Measurement:
    """How small a change to an input turns the decision, for who can compute gradients.

    Up to 200 test rows that the model decides rightly are attacked in two norms, at six radii
    that are shares of the legal range: L-inf (every number moves by at most epsilon) and L2.
    A cascade of projected gradient attacks with adaptive steps runs on the margin, on
    cross-entropy and on the margins of the likeliest wrong classes; a row is left alone once it
    breaks, and attacked hard only at the largest radius that it resists. The level (quick,
    standard, deep) bounds the gradients of a row. The harm at a radius is the share of rows
    broken. Every witness is put back into the user's own form (8-bit pixels, whole numbers) and
    decided by the model as users call it; what rounding undoes within one radius is drawn out to
    the next. What no change within a radius can turn is proven
    beside, where bounds are known through the network's layers: the truth lies between.

    A third curve is of who wants one certain class and no other, in L-inf: of up to 40 rows each
    is aimed at a wrong class drawn for it, since what an attacker wants has nothing to do with what
    the model finds easy, and the attacks of level quick go there. It is drawn beside the others
    as a reference. Where the target's access names a class (`goal`), up to 100 rows of all other
    classes go to that one, and the curve is judged like any attack. Only a change that the model
    decides for exactly that class counts; rows of that class already are neither attacked nor
    counted.

    On tables a change is one that the schema allows: immutable columns, categories, flags and
    derived columns stay, one-way columns move their way only, integers by whole steps, and rules
    between columns hold.

    Gradients that a model hides are mended before the attack: logits are read before a softmax,
    a switch or dead units; rounding, cuts and comparisons pass gradients straight through, and
    so does whole preprocessing, in torch or not; ripples are smoothed, random answers averaged,
    statistics of the batch held; where nothing helps, slopes are estimated from answers.
    Decisions stay the model's own, those of a random model the majority of nine fixed draws.

    Health: gradients are not zero and agree with finite differences; the same input gives the
    same output, alone and in a batch; outputs are logits; rows lie within the legal range; the
    loss rose; with unlimited epsilon every decision falls, to the class aimed at too where some
    row shows that it can be reached; a larger radius does no less harm when
    attacked anew; a weakness planted behind the same defence is found; twice the steps, a search
    by scores, one by decisions alone, and transfer from an ensemble taught by the model's
    decisions do little more; successes hold. Where one fails, every row that stands is attacked
    again in these other ways, what breaks is counted, and the curve is a lower bound all the same.

    Limits: an attack shows harm, never safety; a stronger one may find more. Changes other than
    small ones (turns, patches) are not tried. Proofs are of all changes, legal or not, so on
    tables they may say less than is true.

    References: Croce and Hein, "Reliable evaluation of adversarial robustness", 2020; Athalye,
    Carlini and Wagner, "Obfuscated gradients give a false sense of security", 2018; Carlini and
    Wagner, "Towards evaluating the robustness of neural networks", 2017 (average case); Carlini et
    al., "On evaluating adversarial robustness", 2019; Pintor et al., "Indicators of attack
    failure", 2022; Zimmermann et al., "Increasing confidence in adversarial robustness
    evaluations", 2022; Andriushchenko et al., "Square attack", 2020.
    """
    from crenel.evasion.gradients.report import measure

    return measure(subject, context)


@check(
    "EVA-102",
    risk=Risk.EVASION,
    title="Few changed fields",
    question="How many fields must be changed, legally, to turn the decision, by how many queries?",
    needs=("model", "classification", "test", "table"),
    cost=Cost(seconds=2.0, queries=150_000, least=0.2),
    references=("AML.T0043.001", "AML.T0015", "NISTAML.025", "ML01:2023", "AIA:15(5)"),
    controls=Controls(weak=controls.one_field_decides, sound=controls.many_fields_agree),
)
def few_fields(subject: Subject, context: Context) -> Measurement:
    """How many fields must be changed, legally, to turn the decision, by how many queries.

    Up to 300 test rows that the model decides rightly are changed in the user's own columns,
    through any Pipeline, by an attacker who sees scores, or decisions only where the target says
    so. Every changed value is legal under the schema: listed values, numbers within bounds, whole
    numbers that stay whole, missing values only where they occur, fixed and one-way columns,
    row-wise constraints as expressions or functions, derived columns that follow when their
    inputs move, one-hot groups and decimals as declared or as all rows show them. All single
    fields are tried first, those first of which a surrogate fitted to the answers so far expects
    most; a beam adds a second and a third where the margin is smallest; rows that still stand
    borrow values from real rows that are decided otherwise, and give back those that are not
    needed. At last numbers move back towards
    the original as far as the decision allows. At most 1,000 queries a row.

    Three curves come of one search: the share of right decisions flipped against the number of
    changed fields (the last point allows all), against the cost of the change in the schema's
    units, and against queries. Findings name the decisions as a whole and the fields that turn
    them alone. Rules that the data seem to keep (orderings, sums, one column deciding another,
    ranges within a category) are learned on half of the rows and checked on the other half; they
    forbid nothing, but a changed row that breaks one is shown as unusual, and the share of those
    that break none is given.

    Health: every witness is legal and turns the decision when asked again; taking over a whole
    row that is decided otherwise turns it, and where every field may take any value that is seen
    the same search turns nearly all; the last half of the queries changed little; scores
    turn no fewer rows than labels alone.

    Limits: the fewest fields found, not the fewest that exist (exact on small spaces). Text
    columns are left as they are. Whether an attacker can really change a field is for the schema
    to say: mark those that cannot as immutable.

    References: Gower, "A general coefficient of similarity", 1971; Zeller and Hildebrandt,
    "Simplifying and isolating failure-inducing input", 2002; Geurts, Ernst and Wehenkel,
    "Extremely randomized trees", 2006.
    """
    from crenel.evasion.fields.report import measure

    return measure(subject, context)


@check(
    "EVA-103",
    risk=Risk.EVASION,
    title="Exact margins of trees",
    question="How small a change of the numbers turns the decision of the trees, exactly?",
    needs=("model", "classification", "trees", "test"),
    cost=Cost(seconds=10.0, queries=5_000, least=0.2),
    references=("AML.T0043.000", "AML.T0015", "NISTAML.022", "ML01:2023", "AIA:15(5)"),
    controls=Controls(weak=controls.thin_leaves, sound=controls.wide_leaves),
)
def exact_margins(subject: Subject, context: Context) -> Measurement:
    """How small a change of the numbers turns the decision of the trees, exactly.

    For test rows that are decided rightly, branch and bound finds the smallest L-inf
    change of the trees' input that turns the decision: no attack of this kind can do better. The
    change is measured in interquartile ranges of each column of the trees' own input, within the
    range of the data. Inputs that come from one mutable number each are free, found by moving
    one column of the table at a time; categories, mixtures, several inputs made of one number
    and immutable columns are frozen, and whole numbers stay whole. The harm at epsilon is the
    share of rows turned within it; what is possible is the share that is not proven to hold, and
    the rows between the two are those that the search leaves undecided. The level sets rows and
    search: 100, 150 or 500 rows, with 2,000, 20,000 or 200,000 boxes for each.

    Health: the model decides every witness otherwise; the two bounds of nine rows in ten lie
    within 5 %; rows that never fall are proven so; random changes below the lower bound turn
    nothing.

    Limits: the attacker moves the numbers that the trees are fed, all of them at once; EVA-102
    says what changing a few of the user's own fields does. Scaled inputs are measured as scaled.

    References: Kantchelian, Tygar and Joseph, "Evasion and hardening of tree ensemble
    classifiers", 2016; Chen et al., "Robustness verification of tree-based models", 2019; Devos,
    Meert and Davis, "Versatile verification of tree ensembles", 2021.
    """
    from crenel.evasion.trees.report import measure

    return measure(subject, context)


@check(
    "EVA-104",
    risk=Risk.EVASION,
    title="By queries alone",
    question="How small a change turns the decision, for who can only ask, by how many queries?",
    needs=("model", "classification", "test"),
    cost=Cost(seconds=6.0, queries=60_000, least=0.2),
    references=("AML.T0043.001", "AML.T0015", "NISTAML.025", "ML01:2023", "AIA:15(5)"),
    controls=Controls(weak=query_controls.faint_pattern, sound=query_controls.bright_or_dark),
)
def queries_alone(subject: Subject, context: Context) -> Measurement:
    """How small a change turns the decision, for who can only ask, by how many queries.

    Up to 60 test rows that the model decides rightly are attacked through its answers, by an
    attacker who sees scores, or decisions only where the target says so; any model will do, also
    one behind HTTP. Images and tables of numbers are moved in L-inf: every number by at most
    epsilon, a share of its legal range. Only legal rows are asked (whole numbers, 8-bit pixels,
    fixed and one-way columns). Where torch is installed, two small networks learn from up to
    2,000 known rows and from every answer; rows changed along their gradients are asked first, a
    few queries each. From the nearest known row that is decided otherwise the search
    goes towards the row: blocks of signs are flipped and kept where the row stays turned nearer
    by, or the margin falls; images of 256 pixels or more are searched by square windows where
    scores are seen. At most 1,000 queries a row, or those of a day where the
    target limits them; a row that a whole round of flips brings no nearer begins again from
    another known row.

    Two curves come of one search: the share of right decisions flipped against epsilon, and
    against queries at an epsilon of 5 % of the range. The notes count rows and calls, and money
    where the target's access gives `price_per_1000`.

    Health: some change of any size turns every row; the last half of the queries changed little
    (or the target allows no more; a test of the first curve alone); every witness turns the
    decision when asked again; every query was answered; scores turn no fewer rows than decisions
    alone; where a network gives gradients, these turn no fewer.

    Limits: an attack shows harm, never safety. Tables with columns that are not numbers are
    EVA-102's, which changes few fields and not all; whether an attacker can change a column is
    for the schema to say.

    References: Andriushchenko et al., "Square attack", 2020; Chen and Gu, "RayS", 2020; Chen,
    Jordan and Wainwright, "HopSkipJumpAttack", 2020; Papernot et al., "Practical black-box
    attacks against machine learning", 2017.
    """
    from crenel.evasion.blackbox.report import measure

    return measure(subject, context)


@check(
    "EVA-105",
    risk=Risk.EVASION,
    title="Edited words and characters",
    question="How few edits of a text, seen or unseen, turn the decision, by how many queries?",
    needs=("model", "classification", "test", "table", "text"),
    cost=Cost(seconds=6.0, queries=120_000, least=0.2),
    references=("AML.T0043.001", "AML.T0015", "NISTAML.025", "ML01:2023", "AIA:15(5)"),
    controls=Controls(weak=text_controls.one_word_decides, sound=text_controls.many_words_agree),
)
def edited_texts(subject: Subject, context: Context) -> Measurement:
    """How few edits of a text, seen or unseen, turn the decision, by how many queries.

    Up to 150 test rows that the model decides rightly have words of their free text edited, by an
    attacker who sees scores, or decisions only where the target says so; all other columns stay.
    Three kinds of edits are measured apart. Invisible characters: letters replaced by look-alikes
    of other scripts, characters without width inside words. Typos: characters swapped, doubled,
    left out, mistyped, split, in the other case, or written as digits. Words: replaced by words
    that stand in the same surroundings in the user's own texts, by synonyms that the schema
    lists, by other forms, left out, or joined by a common word.

    Leaving out one word at a time shows which weigh most. A beam then adds edits in those
    places until the decision turns, and edits that were not needed are taken back; at most ten
    edits and 300 queries a text and kind. Where only decisions are seen, a model learnt from the
    decisions on a thousand texts says what to ask. Words with digits and web addresses stay by
    default; the schema says what else (``protected``).

    Changed words must leave 70 % of the words, and a cosine of 0.8 of the text's mean word
    vector, both learnt from the user's own texts without any download. That is a proxy: whether
    a text still says the same, only a person can judge, and opposites stand in the same
    surroundings.

    Health: every witness turns the decision when asked again; a whole text decided otherwise
    turns it; the same search finds a single word on which a made-up model rests; the last half of
    the queries changed little; scores turn no fewer texts than decisions alone.

    Limits: the fewest edits found, not the fewest that exist. Paraphrases of whole sentences are
    not tried; forms and contractions are English.

    References: Gao et al., "Black-box generation of adversarial text sequences to evade deep
    learning classifiers", 2018; Jin et al., "Is BERT really robust?", 2020; Boucher et al., "Bad
    characters: imperceptible NLP attacks", 2022; Lowd and Meek, "Good word attacks on
    statistical spam filters", 2005.
    """
    from crenel.evasion.text.report import measure

    return measure(subject, context)


@check(
    "EVA-106",
    risk=Risk.EVASION,
    title="Patches and universal changes",
    question="Does one patch, or one change for all images, turn decisions on images not seen?",
    needs=("model", "classification", "gradients", "test", "images"),
    cost=Cost(seconds=4.0, queries=150_000, least=0.2),
    references=("AML.T0043.000", "AML.T0015", "NISTAML.022", "ML01:2023", "AIA:15(5)"),
    controls=Controls(weak=patch_controls.one_spot_decides, sound=controls.wide_margins),
)
def patches(subject: Subject, context: Context) -> Measurement:
    """Does one patch, or one change for all images, turn decisions on images not seen.

    Up to 200 test images that the model decides rightly are split in halves. On the first half
    two things are fit by gradients: a square patch of 1 to 20 % of the area, over random places,
    and one change of every number by at most 1 to 20 % of the range, added to every image. Both
    are then tried on the second half, in the images' own dtype and steps, by the model as users
    call it: the patch at three random places of each image. The harm at a budget is the share of
    those decisions that turn, of the best budget up to that one.

    Such attacks need no access to single inputs: a sticker in the scene, a film on a lens.

    Health: the loss rose in every fit; a larger budget does no less harm; a random patch or
    change of the same size does no more; without limit (the whole image, the whole range) every
    decision falls but those of the one class that is then decided.

    Limits: an attack shows harm, never safety. The patch is not turned, bent, or seen in other
    light; one that is fit to a single image and place does more. Gradients that a model hides
    are not mended here: then the loss does not rise and the curve is a lower bound.

    References: Brown et al., "Adversarial patch", 2017; Moosavi-Dezfooli et al., "Universal
    adversarial perturbations", 2017; Shafahi et al., "Universal adversarial training", 2020.
    """
    from crenel.evasion.patches.report import measure

    return measure(subject, context)


@check(
    "EVA-107",
    risk=Risk.EVASION,
    title="Predicted values moved",
    question="How far do few changed fields, or small changes of all numbers, move a prediction?",
    needs=("model", "regression", "test", "table"),
    cost=Cost(seconds=2.0, queries=250_000, least=0.2),
    references=("AML.T0043.001", "AML.T0015", "NISTAML.025", "ML01:2023", "AIA:15(5)"),
    controls=Controls(weak=controls.one_field_prices, sound=controls.many_fields_average),
)
def moved_predictions(subject: Subject, context: Context) -> Measurement:
    """How far do few changed fields, or small changes of all numbers, move a prediction.

    Up to 200 test rows are changed in the user's own columns, through any Pipeline, by an
    attacker who sees the predicted values. Every changed value is legal under the schema, as in
    EVA-102. All single fields are tried; two beams, one upwards and one downwards, add a second
    and a third field where single effects foretell most; at most 600 queries a row. For small
    changes every number may move by at most epsilon interquartile ranges of its column at once:
    coordinate ascent over the ends of that box. Where the model ends in a regressor of trees, a
    third curve says what every such change of the trees' own input can do: branch and bound gives
    the range of each prediction, found and proven, with up to 2,000 boxes for each end.

    A prediction counts as moved when it shifts by more than twice the model's own error on the
    test data (root mean square): more than honest chance explains. The harm at a budget is the
    share of rows so moved; the findings say how far, in errors and in the unit of the target.

    Health: every witness is legal and gives the same value when asked again; taking over a whole
    row gives the prediction of that row; random legal changes of as many fields move no row
    farther than the search did; half of the queries reach nearly as much. For trees, the model
    gives every witness its value, no random change moves a prediction beyond what is proven, and
    nine ranges in ten are found to within 5 % of what is proven.

    Limits: the largest shift found, not the largest that exists (of trees, both). Inputs of trees
    that no single number makes (categories, mixtures) are held, and scaled ones are moved as they
    are scaled, between whole numbers too. Whether an attacker can really
    change a field is for the schema to say: mark those that cannot as immutable. A model whose
    error is large hides shifts that would matter elsewhere.

    References: Balda, Behboodi and Mathar,
    "Perturbation analysis of learning algorithms: generation of adversarial examples from
    classification to regression", 2019; Devos, Meert and Davis, "Versatile verification of tree
    ensembles", 2021.
    """
    from crenel.evasion.shifts.report import measure

    return measure(subject, context)
