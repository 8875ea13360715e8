"""The canary judge of Kayenta (NetflixACAJudge), so that teams can migrate and compare. Pure: values in, values out.

Compatible in results, written anew; docs/kayenta.md says where it differs and what a paired judge does that it cannot.

canary        a canary config and the series of its metrics, as Kayenta writes them
transforms    what is done to a series first: NaN values, outliers
brent         the root finder of R's uniroot
mann_whitney  the shift between two samples, with its interval
classify      one metric: Pass, High, Low, Nodata, NodataFailMetric, Error
score         groups, summary, thresholds
judgement     all of it, from config and series to the answer
"""
